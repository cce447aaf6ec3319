{{ config(enabled=are_loaded('indirect_resellers', 'reseller_customers')) }}

select
    reseller.reseller_id,
    reseller.reseller_name,
    count(pair.customer_id) as customers,
    round(
        100.0 * count(pair.customer_id) / nullif(sum(count(pair.customer_id)) over (), 0), 1
    ) as percent
from {{ ref('stg_partnercenter__indirect_resellers') }} as reseller
left join {{ ref('stg_partnercenter__reseller_customers') }} as pair
    on pair.reseller_id = reseller.reseller_id
group by reseller.reseller_id, reseller.reseller_name
