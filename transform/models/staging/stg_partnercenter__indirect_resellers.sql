{{ config(enabled=are_loaded('indirect_resellers')) }}

with today as (
    {{ todays_rows('indirect_resellers', partner_fields()) }}
)

select
    {{ partner() }},
    extracted_at
from today
