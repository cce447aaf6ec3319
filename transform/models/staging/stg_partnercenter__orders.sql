{{ config(enabled=are_loaded('orders')) }}

with today as (
    {{ todays_rows('orders', [
        'customer_id',
        'id',
        'alternateId',
        'referenceCustomerId',
        'billingCycle',
        'transactionType',
        'currencyCode',
        'creationDate',
        'status',
        'totalPrice',
        'partnerOnRecordAttestationAccepted',
        'lineItems',
    ]) }}
)

select
    customer_id,
    id as order_id,
    "alternateId" as alternate_id,
    "referenceCustomerId" as reference_customer_id,
    "billingCycle" as billing_cycle,
    "transactionType" as transaction_type,
    "currencyCode" as currency_code,
    {{ utc('creationDate') }} as created_at,
    status,
    "totalPrice" as total_price,
    "partnerOnRecordAttestationAccepted" as partner_on_record_attestation_accepted,
    "lineItems" as line_items,
    extracted_at
from today
