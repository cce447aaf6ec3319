{{ config(enabled=are_loaded('audit_records')) }}

with today as (
    {{ todays_rows('audit_records', [
        'id',
        'operationDate',
        'operationType',
        'operationStatus',
        'resourceType',
        'customerId',
        'customerName',
        'partnerId',
        'userPrincipalName',
        'applicationId',
        'sessionId',
        'originalCorrelationId',
        'resourceOldValue',
        'resourceNewValue',
        'customizedData',
    ]) }}
)

select
    id as audit_record_id,
    {{ utc('operationDate') }} as operated_at,
    "operationType" as operation_type,
    "operationStatus" as operation_status,
    "resourceType" as resource_type,
    "customerId" as customer_id,
    "customerName" as customer_name,
    "partnerId" as partner_id,
    "userPrincipalName" as user_principal_name,
    "applicationId" as application_id,
    "sessionId" as session_id,
    "originalCorrelationId" as original_correlation_id,
    "resourceOldValue" as resource_old_value,
    "resourceNewValue" as resource_new_value,
    "customizedData" as customized_data,
    extracted_at
from today
