{{ config(enabled=are_loaded('subscribed_skus')) }}

with today as (
    {{ todays_rows('subscribed_skus', [
        'customer_id',
        'sku_id',
        'productSku',
        'capabilityStatus',
        'totalUnits',
        'activeUnits',
        'warningUnits',
        'suspendedUnits',
        'consumedUnits',
        'availableUnits',
        'servicePlans',
    ]) }}
)

select
    customer_id,
    sku_id,
    {{ member('productSku', 'name') }} as sku_name,
    {{ member('productSku', 'skuPartNumber') }} as sku_part_number,
    {{ member('productSku', 'targetType') }} as target_type,
    {{ member('productSku', 'licenseGroupId') }} as license_group_id,
    "capabilityStatus" as capability_status,
    cast("totalUnits" as bigint) as total_units,
    cast("activeUnits" as bigint) as active_units,
    cast("warningUnits" as bigint) as warning_units,
    cast("suspendedUnits" as bigint) as suspended_units,
    cast("consumedUnits" as bigint) as consumed_units,
    cast("availableUnits" as bigint) as available_units,
    "servicePlans" as service_plans,
    extracted_at
from today
