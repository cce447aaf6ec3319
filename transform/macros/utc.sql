{#
    A time that the API sent as text, as a timestamp in UTC. A time without a time zone is UTC. Of up
    to seven fractional digits, six are kept. Year 1 means never and year 9999 no end: both become
    null, as does anything that is not a time.
#}
{% macro utc(column) -%}
case
    when left({{ adapter.quote(column) }}, 4) in ('0001', '9999') then null
    when {{ partnercenter.matches(adapter.quote(column), '^\d{4}-\d\d-\d\dT\d\d:\d\d.*(Z|[+-]\d\d:\d\d)$') }}
        then cast({{ partnercenter.to_micros(adapter.quote(column)) }} as timestamptz) at time zone 'UTC'
    when {{ partnercenter.matches(adapter.quote(column), '^\d{4}-\d\d-\d\d') }}
        then cast({{ partnercenter.to_micros(adapter.quote(column)) }} as timestamp)
end
{%- endmacro %}

{% macro utc_now() -%}
(now() at time zone 'UTC')
{%- endmacro %}

{# Seven digits would be rounded, which moves the last moment of a day to the next day. #}
{% macro to_micros(text) -%}
regexp_replace({{ text }}, '(\.\d{6})\d+', '\1')
{%- endmacro %}

{% macro matches(text, pattern) %}
    {{- return(adapter.dispatch('matches', 'partnercenter')(text, pattern)) -}}
{% endmacro %}

{% macro postgres__matches(text, pattern) -%}
{{ text }} ~ '{{ pattern }}'
{%- endmacro %}

{% macro duckdb__matches(text, pattern) -%}
regexp_matches({{ text }}, '{{ pattern }}')
{%- endmacro %}

{# Snapshots keep their times in UTC, whatever the time zone of the session. #}
{% macro postgres__snapshot_get_time() -%}
{{ partnercenter.utc_now() }}
{%- endmacro %}

{% macro duckdb__snapshot_get_time() -%}
{{ partnercenter.utc_now() }}
{%- endmacro %}
