{{ config(enabled=are_loaded('customer_relationships', 'reseller_customers')) }}

select
    coalesce(relationship.customer_id, pair.customer_id) as customer_id,
    coalesce(relationship.reseller_id, pair.reseller_id) as reseller_id,
    case
        when pair.customer_id is null then 'customer_relationships' else 'reseller_customers'
    end as only_in
from (
    select distinct customer_id, reseller_id
    from {{ ref('stg_partnercenter__customer_relationships') }}
) as relationship
full join {{ ref('stg_partnercenter__reseller_customers') }} as pair
    on pair.customer_id = relationship.customer_id
    and pair.reseller_id = relationship.reseller_id
where relationship.customer_id is null or pair.customer_id is null
