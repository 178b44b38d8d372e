"""The grammar's shape of a tool's arguments: everything that is valid fits it, and no schema breaks it."""

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.engines.shape import shape, written

NODE = {
    "type": "object",
    "properties": {"next": {"$ref": "#/$defs/node"}, "name": {"type": "string"}},
    "required": ["name"],
}


def closed(**properties):
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (
            closed(a={"type": "string", "description": "x", "maxLength": 3, "pattern": "^a"}),
            closed(a={"type": "string"}),
        ),
        (closed(n={"type": "integer", "minimum": 1, "maximum": 100}), closed(n={"type": "integer"})),
        (closed(c={"const": 3}), closed(c={"enum": [3]})),
        (closed(c={"enum": ["a", None], "type": "string"}), closed(c={"enum": ["a", None]})),
        (closed(c={"type": ["string", "null"]}), closed(c={"type": ["string", "null"]})),
        (
            {"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}}},
            {**closed(a={"anyOf": [{"type": "string"}, {"type": "null"}]}), "required": []},
        ),
        (
            {**closed(a={"$ref": "#/$defs/Unit"}), "$defs": {"Unit": {"enum": ["C", "F"]}}},
            closed(a={"enum": ["C", "F"]}),
        ),
        (
            {"allOf": [closed(a={"type": "string"}), {"properties": {"b": {"type": "null"}}, "required": ["b"]}]},
            closed(a={"type": "string"}, b={"type": "null"}),
        ),
        (closed(l={"items": {"type": "number"}}), closed(l={"type": "array", "items": {"type": "number"}})),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}},
            {"type": "object", "additionalProperties": {"type": "integer"}},
        ),
        (closed(), {"type": "object", "properties": {}, "additionalProperties": False}),
        ({"type": "object"}, {"type": "object"}),
        (True, {"type": "object"}),
        ({"$ref": "https://example.org/x.json"}, {"type": "object"}),
        ({"type": "string"}, {"type": "object"}),
        ({"type": "frob", "properties": 3, "required": "a", "allOf": 1, "enum": []}, {"type": "object"}),
    ],
)
def test_types_properties_and_choices_stay_and_the_rest_is_left_to_the_gate(schema, expected):
    assert shape(schema) == expected


def test_a_schema_that_contains_itself_has_an_end():
    found = shape({**closed(node={"$ref": "#/$defs/node"}), "$defs": {"node": NODE}})
    assert len(json.dumps(found)) < 2000
    assert shape({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}) == {"type": "object"}


LEAF = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["string", "integer", "number", "boolean", "null"])}),
    st.fixed_dictionaries({"type": st.just("integer"), "minimum": st.integers(-5, 0), "maximum": st.integers(1, 5)}),
    st.fixed_dictionaries({"enum": st.lists(st.integers() | st.text(max_size=3), min_size=1, max_size=3)}),
    st.fixed_dictionaries({"const": st.booleans()}),
)


def grown(inner):
    options = st.lists(inner, min_size=1, max_size=3)
    properties = st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
    objects = properties.flatmap(
        lambda found: st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.just(found),
                "required": st.lists(st.sampled_from([*found, "a"]), unique=True).map(
                    lambda names: [name for name in names if name in found]
                ),
                "additionalProperties": st.just(False),
            }
        )
    )
    return (
        st.fixed_dictionaries({"anyOf": options})
        | st.fixed_dictionaries({"type": st.just("array"), "items": inner, "maxItems": st.just(2)})
        | objects
        | objects.map(lambda found: {"allOf": [found]})
    )


SCHEMAS = st.recursive(LEAF, grown, max_leaves=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-6, 6) | st.text(max_size=3) | st.floats(-2, 2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=6,
)


@given(schema=SCHEMAS, value=VALUES)
def test_what_the_schema_takes_the_grammar_lets_the_model_write(schema, value):
    whole = closed(x=schema)
    if jsonschema.Draft202012Validator(whole).is_valid({"x": value}):
        assert jsonschema.Draft202012Validator(shape(whole)).is_valid({"x": value})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from(["object", "#", "#/a/0"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "properties", "items", "$ref", "allOf", "anyOf", "oneOf", "enum", "required", "const", "a"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_no_schema_makes_it_fail(schema):
    found = shape(schema)
    assert found["type"] == "object"
    assert isinstance(written(found), str)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string"}, "string"),
        ({"enum": ["C", 3]}, '"C" | 3'),
        ({"type": "array", "items": {"type": ["string", "number"]}}, "(string | number)[]"),
        ({"type": "array"}, "any[]"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string | null"),
        ({**closed(a={"type": "string"}, b={}), "required": ["a"]}, "{a: string, b?: any}"),
    ],
)
def test_a_shape_is_written_in_a_few_characters(schema, text):
    assert written(schema) == text
