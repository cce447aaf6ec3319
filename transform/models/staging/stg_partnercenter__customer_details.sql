{{ config(enabled=are_loaded('customer_details')) }}

with today as (
    {{ todays_rows('customer_details', [
        'id',
        'companyProfile',
        'relationshipToPartner',
        'commerceId',
        'associatedPartnerId',
        'allowDelegatedAccess',
        'enableGDAPByDefault',
        'customDomains',
        'tags',
        'billingProfile',
    ]) }}
)

select
    id as customer_id,
    {{ member('companyProfile', 'companyName') }} as company_name,
    {{ member('companyProfile', 'domain') }} as domain,
    {{ member('companyProfile', 'organizationRegistrationNumber') }} as organization_registration_number,
    {{ member('companyProfile', 'email') }} as company_email,
    {{ address('companyProfile', 'address', 'company') }},
    "relationshipToPartner" as relationship_to_partner,
    "commerceId" as commerce_id,
    "associatedPartnerId" as associated_partner_id,
    "allowDelegatedAccess" as allow_delegated_access,
    "enableGDAPByDefault" as enable_gdap_by_default,
    "customDomains" as custom_domains,
    tags,
    {{ member('billingProfile', 'id') }} as billing_profile_id,
    {{ member('billingProfile', 'firstName') }} as billing_first_name,
    {{ member('billingProfile', 'lastName') }} as billing_last_name,
    {{ member('billingProfile', 'email') }} as billing_email,
    {{ member('billingProfile', 'culture') }} as billing_culture,
    {{ member('billingProfile', 'language') }} as billing_language,
    {{ member('billingProfile', 'companyName') }} as billing_company_name,
    {{ address('billingProfile', 'defaultAddress', 'billing') }},
    extracted_at
from today
