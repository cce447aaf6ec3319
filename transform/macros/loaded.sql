{# Whether all of these streams are loaded. #}
{% macro are_loaded() %}
    {{ return(varargs | reject('in', var('partnercenter_streams')) | list | length == 0) }}
{% endmacro %}
