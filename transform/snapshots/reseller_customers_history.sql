{% snapshot reseller_customers_history %}
{{ config(
    enabled=are_loaded('reseller_customers'),
    unique_key=['reseller_id', 'customer_id'],
    strategy='check',
    check_cols=['customer_id'],
    hard_deletes='invalidate',
) }}
select reseller_id, customer_id
from {{ ref('stg_partnercenter__reseller_customers') }}
{% endsnapshot %}
