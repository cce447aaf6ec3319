{# The fields of a partner: a reseller, or a partner that serves a customer. #}
{% macro partner_fields() %}
    {{ return(['id', 'name', 'relationshipType', 'mpnId', 'partnerId', 'state', 'location']) }}
{% endmacro %}

{# The same fields, as columns of a model. #}
{% macro partner() -%}
    id as reseller_id,
    name as reseller_name,
    "relationshipType" as relationship_type,
    coalesce("mpnId", "partnerId") as mpn_id,
    state,
    location as country
{%- endmacro %}
