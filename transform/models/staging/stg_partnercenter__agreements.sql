{{ config(enabled=are_loaded('agreements')) }}

with today as (
    {{ todays_rows('agreements', [
        'customer_id',
        'agreement_id',
        'type',
        'templateId',
        'dateAgreed',
        'primaryContact',
        'userId',
        'agreementLink',
    ]) }}
)

select
    customer_id,
    agreement_id,
    type as agreement_type,
    "templateId" as template_id,
    {{ utc('dateAgreed') }} as agreed_at,
    {{ member('primaryContact', 'firstName') }} as contact_first_name,
    {{ member('primaryContact', 'lastName') }} as contact_last_name,
    {{ member('primaryContact', 'email') }} as contact_email,
    {{ member('primaryContact', 'phoneNumber') }} as contact_phone_number,
    "userId" as user_id,
    "agreementLink" as agreement_link,
    extracted_at
from today
