{{ config(enabled=are_loaded('indirect_resellers')) }}

with today as (
    {{ todays_rows('indirect_resellers', [
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
    id as reseller_id,
    name as reseller_name,
    "relationshipType" as relationship_type,
    coalesce("mpnId", "partnerId") as mpn_id,
    state,
    location as country,
    extracted_at
from today
