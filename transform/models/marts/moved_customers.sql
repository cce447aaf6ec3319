{{ config(enabled=are_loaded('customers', 'indirect_resellers', 'reseller_customers')) }}

with later as (
    select
        was.customer_id,
        was.reseller_id as old_reseller_id,
        pair.reseller_id as new_reseller_id,
        was.dbt_valid_to as noticed_at,
        -- The resellers at the time when the old pair ended, or else the next ones.
        rank() over (
            partition by was.dbt_scd_id
            order by greatest(pair.dbt_valid_from, was.dbt_valid_to)
        ) as place
    from {{ ref('reseller_customers_history') }} as was
    join {{ ref('reseller_customers_history') }} as pair
        on pair.customer_id = was.customer_id
        and (pair.dbt_valid_to is null or pair.dbt_valid_to > was.dbt_valid_to)
    where was.dbt_valid_to is not null
)

-- Names come from the tables themselves, because a reseller may be gone.
select
    later.customer_id,
    customer.company_name,
    later.old_reseller_id,
    old_reseller.name as old_reseller_name,
    later.new_reseller_id,
    new_reseller.name as new_reseller_name,
    later.noticed_at
from later
left join {{ ref('customers_history') }} as customer
    on customer.customer_id = later.customer_id
    and customer.dbt_valid_to is null
left join {{ source('partnercenter', 'indirect_resellers') }} as old_reseller
    on old_reseller.id = later.old_reseller_id
left join {{ source('partnercenter', 'indirect_resellers') }} as new_reseller
    on new_reseller.id = later.new_reseller_id
where later.place = 1
    and later.new_reseller_id <> later.old_reseller_id
