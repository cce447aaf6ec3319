{% snapshot customers_history %}
{{ config(
    enabled=are_loaded('customers'),
    unique_key='customer_id',
    strategy='check',
    check_cols=['company_name', 'domain'],
    hard_deletes='invalidate',
) }}
select customer_id, company_name, domain
from {{ ref('stg_partnercenter__customers') }}
{% endsnapshot %}
