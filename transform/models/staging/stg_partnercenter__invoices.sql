{{ config(enabled=are_loaded('invoices')) }}

with today as (
    {{ todays_rows('invoices', [
        'id',
        'invoiceType',
        'documentType',
        'amendsOf',
        'status',
        'invoiceDate',
        'billingPeriodStartDate',
        'billingPeriodEndDate',
        'totalCharges',
        'paidAmount',
        'amountDue',
        'currencyCode',
        'pdfDownloadLink',
    ]) }}
)

select
    id as invoice_id,
    "invoiceType" as invoice_type,
    "documentType" as document_type,
    "amendsOf" as amends_of,
    status,
    {{ utc('invoiceDate') }} as invoiced_at,
    {{ utc('billingPeriodStartDate') }} as billing_period_starts_at,
    {{ utc('billingPeriodEndDate') }} as billing_period_ends_at,
    "totalCharges" as total_charges,
    "paidAmount" as paid_amount,
    "amountDue" as amount_due,
    "currencyCode" as currency_code,
    "pdfDownloadLink" as pdf_download_link,
    extracted_at
from today
