{{ config(enabled=are_loaded('customers')) }}

with today as (
    {{ todays_rows('customers', [
        'id',
        'companyProfile',
        'relationshipToPartner',
    ]) }}
)

select
    id as customer_id,
    {{ member('companyProfile', 'companyName') }} as company_name,
    {{ member('companyProfile', 'domain') }} as domain,
    "relationshipToPartner" as relationship_to_partner,
    extracted_at
from today
