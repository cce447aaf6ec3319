{{ config(enabled=are_loaded('customers', 'subscriptions'), materialized='view') }}

select
    subscription.customer_id,
    customer.company_name,
    subscription.subscription_id,
    subscription.offer_name,
    subscription.quantity,
    subscription.auto_renew_enabled,
    subscription.commitment_ends_at as ends_at
from {{ ref('stg_partnercenter__subscriptions') }} as subscription
left join {{ ref('stg_partnercenter__customers') }} as customer
    on customer.customer_id = subscription.customer_id
where subscription.status = 'active'
    and subscription.commitment_ends_at >= {{ utc_now() }}
    and subscription.commitment_ends_at
        < {{ utc_now() }} + interval '{{ var("partnercenter_days_ahead") }} days'
