{{ config(enabled=are_loaded('customer_relationships')) }}

with today as (
    {{ todays_rows('customer_relationships', ['customer_id'] + partner_fields()) }}
)

select
    customer_id,
    {{ partner() }},
    extracted_at
from today
