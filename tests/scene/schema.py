"""As much of JSON Schema 2020-12 as /openapi.json uses. An unknown keyword is an error, so that
nothing passes because it was not looked at."""
import ipaddress
import re

IGNORED = {"title", "description", "default", "examples", "example", "readOnly", "writeOnly",
           "deprecated", "$comment", "$defs", "externalDocs", "xml", "contentEncoding",
           "contentMediaType", "discriminator"}

TYPES = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def is_address(value):
    try:
        ipaddress.ip_address(value)
        return True
    except ValueError:
        return False


FORMATS = {
    "date-time": lambda value: re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value),
    "uuid": lambda value: re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value),
    "ipv4": is_address, "ipv6": is_address, "ip": is_address, "address": is_address,
    "cidr": lambda value: "/" in value and is_address(value.split("/")[0]),
    "mac": lambda value: re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", value),
    "uri": lambda value: bool(value), "uri-reference": lambda value: True,
    "byte": lambda value: True, "binary": lambda value: True, "int32": lambda value: True,
    "int64": lambda value: True, "double": lambda value: True, "password": lambda value: True,
}


class Validator:
    def __init__(self, document):
        self.document = document

    def resolve(self, schema):
        while isinstance(schema, dict) and "$ref" in schema:
            reference = schema["$ref"]
            assert reference.startswith("#/"), reference
            target = self.document
            for part in reference[2:].split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            others = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**target, **others} if others else target
        return schema

    def check(self, value, schema, at=""):
        """A list of what is wrong: "POINTER: text"."""
        schema = self.resolve(schema)
        if schema is True or schema == {}:
            return []
        if schema is False:
            return [f"{at}: nothing is allowed here"]
        wrong = []
        for keyword, wanted in schema.items():
            if keyword in IGNORED or keyword.startswith("x-"):
                continue
            method = getattr(self, "on_" + keyword, None)
            if method is None:
                raise AssertionError(f"keyword {keyword} is not known to this validator")
            wrong += method(value, wanted, schema, at)
        return wrong

    def on_type(self, value, wanted, _, at):
        names = wanted if isinstance(wanted, list) else [wanted]
        if any(TYPES[name](value) for name in names):
            return []
        return [f"{at}: {value!r:.60} is not of type {wanted}"]

    def on_enum(self, value, wanted, _, at):
        return [] if value in wanted else [f"{at}: {value!r:.60} is none of {wanted}"]

    def on_const(self, value, wanted, _, at):
        return [] if value == wanted else [f"{at}: {value!r:.60} is not {wanted!r}"]

    def on_properties(self, value, wanted, _, at):
        if not isinstance(value, dict):
            return []
        return [text for name, schema in wanted.items() if name in value
                for text in self.check(value[name], schema, f"{at}/{name}")]

    def on_additionalProperties(self, value, wanted, schema, at):
        if not isinstance(value, dict):
            return []
        known = set(schema.get("properties", {}))
        patterns = schema.get("patternProperties", {})
        wrong = []
        for name, item in value.items():
            if name in known or any(re.search(pattern, name) for pattern in patterns):
                continue
            if wanted is False:
                wrong.append(f"{at}/{name}: is not described")
            else:
                wrong += self.check(item, wanted, f"{at}/{name}")
        return wrong

    def on_patternProperties(self, value, wanted, _, at):
        if not isinstance(value, dict):
            return []
        return [text for pattern, schema in wanted.items() for name, item in value.items()
                if re.search(pattern, name) for text in self.check(item, schema, f"{at}/{name}")]

    def on_propertyNames(self, value, wanted, _, at):
        if not isinstance(value, dict):
            return []
        return [text for name in value for text in self.check(name, wanted, f"{at}/{name}")]

    def on_required(self, value, wanted, _, at):
        if not isinstance(value, dict):
            return []
        return [f"{at}: {name} is missing" for name in wanted if name not in value]

    def on_items(self, value, wanted, _, at):
        if not isinstance(value, list):
            return []
        return [text for index, item in enumerate(value)
                for text in self.check(item, wanted, f"{at}/{index}")]

    def on_minItems(self, value, wanted, _, at):
        return self.bound(isinstance(value, list) and len(value) < wanted, at, "too few elements")

    def on_maxItems(self, value, wanted, _, at):
        return self.bound(isinstance(value, list) and len(value) > wanted, at, "too many elements")

    def on_uniqueItems(self, value, wanted, _, at):
        return self.bound(isinstance(value, list) and wanted
                          and any(item in value[:index] for index, item in enumerate(value)),
                          at, "an element stands twice")

    def on_minProperties(self, value, wanted, _, at):
        return self.bound(isinstance(value, dict) and len(value) < wanted, at, "too few members")

    def on_maxProperties(self, value, wanted, _, at):
        return self.bound(isinstance(value, dict) and len(value) > wanted, at, "too many members")

    def on_minLength(self, value, wanted, _, at):
        return self.bound(isinstance(value, str) and len(value) < wanted, at, "too short")

    def on_maxLength(self, value, wanted, _, at):
        return self.bound(isinstance(value, str) and len(value) > wanted, at, "too long")

    def on_minimum(self, value, wanted, _, at):
        return self.bound(TYPES["number"](value) and value < wanted, at, "too small")

    def on_maximum(self, value, wanted, _, at):
        return self.bound(TYPES["number"](value) and value > wanted, at, "too large")

    def on_exclusiveMinimum(self, value, wanted, _, at):
        return self.bound(TYPES["number"](value) and value <= wanted, at, "too small")

    def on_pattern(self, value, wanted, _, at):
        return self.bound(isinstance(value, str) and not re.search(wanted, value), at,
                          f"{value!r:.60} does not match {wanted}")

    def on_format(self, value, wanted, _, at):
        if wanted not in FORMATS:
            raise AssertionError(f"format {wanted} is not known to this validator")
        return self.bound(isinstance(value, str) and not FORMATS[wanted](value), at,
                          f"{value!r:.60} is no {wanted}")

    def on_oneOf(self, value, wanted, _, at):
        fits = [schema for schema in wanted if not self.check(value, schema, at)]
        return self.bound(len(fits) != 1, at, f"fits {len(fits)} of oneOf")

    def on_anyOf(self, value, wanted, _, at):
        return self.bound(all(self.check(value, schema, at) for schema in wanted), at,
                          "fits none of anyOf")

    def on_allOf(self, value, wanted, _, at):
        return [text for schema in wanted for text in self.check(value, schema, at)]

    def on_not(self, value, wanted, _, at):
        return self.bound(not self.check(value, wanted, at), at, "fits what it must not")

    @staticmethod
    def bound(is_wrong, at, text):
        return [f"{at}: {text}"] if is_wrong else []
