{# A member of an object, as text: member('companyProfile', 'address', 'country'). #}
{% macro member(column) %}
    {{- return(adapter.dispatch('member', 'partnercenter')(adapter.quote(column), varargs)) -}}
{% endmacro %}

{% macro postgres__member(column, path) -%}
(cast({{ column }} as jsonb) #>> '{ {{- path | join(',') -}} }')
{%- endmacro %}

{% macro duckdb__member(column, path) -%}
(cast({{ column }} as json) ->> '$.{{ path | join('.') }}')
{%- endmacro %}
