-- Which pairs of customer and reseller does only one of the two streams know?
-- The streams are read one after the other, so a change between them shows here for a night; a pair
-- that stays is a customer whose data is wrong in Partner Center, or was skipped.
select coalesce(relationship.customer_id, pair.id)          as customer_id,
       coalesce(relationship.reseller_id, pair.reseller_id) as reseller_id,
       case when pair.id is null then 'customer_relationships' else 'reseller_customers' end
                                                            as only_in
from (
  select distinct customer_id, id as reseller_id
  from customer_relationships
  where _sdc_deleted_at is null
) relationship
full join (
  select id, reseller_id
  from reseller_customers
  where _sdc_deleted_at is null
) pair on pair.id = relationship.customer_id and pair.reseller_id = relationship.reseller_id
where relationship.customer_id is null or pair.id is null
order by customer_id, reseller_id;
