{{ config(enabled=are_loaded('customers', 'indirect_resellers', 'reseller_customers')) }}

with last_version as (
    select
        *,
        row_number() over (partition by customer_id order by dbt_valid_from desc) as age
    from {{ ref('customers_history') }}
),

last_pairs as (
    select
        customer_id,
        reseller_id,
        rank() over (partition by customer_id order by dbt_valid_to desc nulls first) as age
    from {{ ref('reseller_customers_history') }}
)

select
    customer.customer_id,
    customer.company_name,
    customer.domain,
    -- Names come from the table itself, because a reseller may be gone.
    string_agg(reseller.name, ' | ' order by reseller.name) as last_reseller_names,
    customer.dbt_valid_to as noticed_at
from last_version as customer
left join last_pairs as pair
    on pair.customer_id = customer.customer_id and pair.age = 1
left join {{ source('partnercenter', 'indirect_resellers') }} as reseller
    on reseller.id = pair.reseller_id
where customer.age = 1 and customer.dbt_valid_to is not null
group by customer.customer_id, customer.company_name, customer.domain, customer.dbt_valid_to
