{{ config(enabled=are_loaded('indirect_resellers', 'reseller_customers')) }}

select
    pair.customer_id,
    min(pair.company_name) as company_name,
    count(*) as resellers,
    string_agg(reseller.reseller_name, ' | ' order by reseller.reseller_name) as reseller_names
from {{ ref('stg_partnercenter__reseller_customers') }} as pair
left join {{ ref('stg_partnercenter__indirect_resellers') }} as reseller
    on reseller.reseller_id = pair.reseller_id
group by pair.customer_id
having count(*) > 1
