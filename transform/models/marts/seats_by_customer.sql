{{ config(enabled=are_loaded('customers', 'subscriptions', 'subscribed_skus')) }}

with bought as (
    select customer_id, cast(sum(quantity) as bigint) as seats
    from {{ ref('stg_partnercenter__subscriptions') }}
    where status = 'active' and unit_type = 'Licenses'
    group by customer_id
),

used as (
    select
        customer_id,
        cast(sum(total_units) as bigint) as licences,
        cast(sum(consumed_units) as bigint) as licences_used
    from {{ ref('stg_partnercenter__subscribed_skus') }}
    group by customer_id
)

select
    customer.customer_id,
    customer.company_name,
    coalesce(bought.seats, 0) as seats_bought,
    used.licences,
    used.licences_used,
    used.licences - used.licences_used as licences_unused
from {{ ref('stg_partnercenter__customers') }} as customer
left join bought on bought.customer_id = customer.customer_id
left join used on used.customer_id = customer.customer_id
