{{ config(enabled=are_loaded('subscriptions')) }}

select
    offer_id,
    min(offer_name) as offer_name,
    count(distinct customer_id) as customers,
    cast(sum(quantity) as bigint) as seats
from {{ ref('stg_partnercenter__subscriptions') }}
where status = 'active' and unit_type = 'Licenses'
group by offer_id
