{{ config(enabled=are_loaded('customers', 'reseller_customers')) }}

select
    customer.customer_id,
    customer.company_name,
    customer.domain
from {{ ref('stg_partnercenter__customers') }} as customer
where not exists (
    select 1 from {{ ref('stg_partnercenter__reseller_customers') }} as pair
    where pair.customer_id = customer.customer_id
)
