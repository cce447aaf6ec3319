-- How many customers are there by the country of their reseller?
-- The list of customers holds no address; the country is the reseller's.
select coalesce(r.location, 'unknown')  as country,
       count(distinct m.reseller_id)    as resellers,
       count(distinct m.id)             as customers
from reseller_customers m
left join indirect_resellers r on r.id = m.reseller_id
where m._sdc_deleted_at is null
group by country
order by customers desc, country;
