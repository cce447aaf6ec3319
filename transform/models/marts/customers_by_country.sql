{{ config(enabled=are_loaded('indirect_resellers', 'reseller_customers')) }}

-- The list of customers holds no address; the country is the reseller's.
select
    coalesce(reseller.country, 'unknown') as country,
    count(distinct pair.reseller_id) as resellers,
    count(distinct pair.customer_id) as customers
from {{ ref('stg_partnercenter__reseller_customers') }} as pair
left join {{ ref('stg_partnercenter__indirect_resellers') }} as reseller
    on reseller.reseller_id = pair.reseller_id
group by coalesce(reseller.country, 'unknown')
