{{ config(enabled=are_loaded('customer_relationships')) }}

with today as (
    {{ todays_rows('customer_relationships', [
        'customer_id',
        'id',
        'name',
        'relationshipType',
        'mpnId',
        'partnerId',
        'state',
        'location',
    ]) }}
)

select
    customer_id,
    id as reseller_id,
    name as reseller_name,
    "relationshipType" as relationship_type,
    coalesce("mpnId", "partnerId") as mpn_id,
    state,
    location as country,
    extracted_at
from today
