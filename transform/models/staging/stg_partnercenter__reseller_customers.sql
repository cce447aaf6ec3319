{{ config(enabled=are_loaded('reseller_customers')) }}

with today as (
    {{ todays_rows('reseller_customers', [
        'reseller_id',
        'id',
        'companyProfile',
        'relationshipToPartner',
    ]) }}
)

select
    reseller_id,
    id as customer_id,
    {{ member('companyProfile', 'companyName') }} as company_name,
    {{ member('companyProfile', 'domain') }} as domain,
    "relationshipToPartner" as relationship_to_partner,
    extracted_at
from today
