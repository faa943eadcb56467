//! An AWS service as botocore describes it: parses the input of a request and validates it.

use std::{
    collections::{BTreeMap, HashMap},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use hyper::{Request, body::Bytes};
use jsonschema::Validator;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::stack;

/// Python code that prints the newest models of the given services, without their documentation.
const LOAD: &str = "
import json, sys
from botocore.loaders import Loader

def bare(value):
    if isinstance(value, dict):
        return {key: bare(inner) for key, inner in value.items() if not (key == 'documentation' and isinstance(inner, str))}
    return [bare(inner) for inner in value] if isinstance(value, list) else value

json.dump({name: bare(Loader().load_service_model(name, 'service-2')) for name in sys.argv[1:]}, sys.stdout)
";

/// The model of one service.
pub(super) struct Model {
    shapes: Value,
    operations: Map<String, Value>,
    /// `json`, `rest-json` or `query`.
    protocol: String,
    /// Prefix of the operation in the header `x-amz-target`.
    target: Option<String>,
    definitions: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// A form with paths as names.
#[derive(Default)]
struct Form {
    text: String,
    parts: BTreeMap<String, Form>,
}

impl Form {
    fn insert(&mut self, path: &str, text: String) {
        let end = path.split('.').fold(self, |form, part| form.parts.entry(part.to_owned()).or_default());
        end.text = text;
    }
}

/// A request, parsed by its model.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) operation: String,
    pub(super) input: Value,
}

/// Loads the models of these services from a Python with botocore.
pub(super) fn load(services: &[&str]) -> HashMap<String, Model> {
    let python = stack::install().join("bin/python");
    let output = Command::new(python).args(["-c", LOAD]).args(services).output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let models: HashMap<String, Value> = serde_json::from_slice(&output.stdout).expect("models are JSON");
    models.into_iter().map(|(service, model)| (service, Model::new(model))).collect()
}

impl Model {
    fn new(mut model: Value) -> Self {
        let shapes = model["shapes"].take();
        let definitions = shapes.as_object().expect("shapes").iter().map(|(name, shape)| (name.clone(), schema(name, shape)));
        Self {
            definitions: definitions.collect::<Map<_, _>>().into(),
            shapes,
            operations: serde_json::from_value(model["operations"].take()).expect("operations"),
            protocol: model["metadata"]["protocol"].as_str().expect("a protocol").to_owned(),
            target: model["metadata"]["targetPrefix"].as_str().map(str::to_owned),
            validators: Mutex::default(),
        }
    }

    /// Parses a request.
    ///
    /// # Errors
    ///
    /// When the service has no such operation, or the body cannot be parsed.
    pub(super) fn read(&self, request: &Request<Bytes>) -> Result<Call, String> {
        match self.protocol.as_str() {
            "json" => self.read_json(request),
            "rest-json" => self.read_rest(request),
            "query" => self.read_query(request),
            other => Err(format!("the protocol {other} is not known")),
        }
    }

    /// Returns each member of an input that violates its model, with the rule.
    pub(super) fn validate(&self, call: &Call) -> Vec<(String, String)> {
        let Some(shape) = self.input(&call.operation) else { return Vec::new() };
        let errors = self.validator(shape);
        let fault = |error: jsonschema::ValidationError<'_>| {
            let rule = error.to_string();
            // Shorten the message: a body may have a megabyte.
            let rule = if rule.chars().count() > 400 { format!("{}...", rule.chars().take(400).collect::<String>()) } else { rule };
            (error.instance_path().to_string(), rule)
        };
        errors.iter_errors(&call.input).map(fault).collect()
    }

    fn validator(&self, shape: &str) -> Arc<Validator> {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let schema = json!({"$ref": format!("#/$defs/{shape}"), "$defs": self.definitions});
            Arc::new(jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("the schema of {shape}: {error}")))
        };
        Arc::clone(validators.entry(shape.to_owned()).or_insert_with(make))
    }

    /// Returns the name of an operation's input, if it has one.
    fn input(&self, operation: &str) -> Option<&str> {
        self.operations[operation]["input"]["shape"].as_str()
    }

    fn known(&self, operation: &str) -> Result<String, String> {
        let is_known = self.operations.contains_key(operation);
        is_known.then(|| operation.to_owned()).ok_or_else(|| format!("the service has no operation {operation}"))
    }

    fn read_json(&self, request: &Request<Bytes>) -> Result<Call, String> {
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let of_this = target.split_once('.').filter(|(prefix, _)| Some(*prefix) == self.target.as_deref());
        let (_, operation) = of_this.ok_or_else(|| format!("the target {target:?} is not of this service"))?;
        let input = serde_json::from_slice(request.body()).map_err(|error| format!("the body is not JSON: {error}"))?;
        Ok(Call { operation: self.known(operation)?, input })
    }

    /// Reads the members from the path, the query and the body.
    fn read_rest(&self, request: &Request<Bytes>) -> Result<Call, String> {
        let (method, path) = (request.method().as_str(), request.uri().path());
        let fits = |(name, operation): (&String, &Value)| {
            let template = operation["http"]["requestUri"].as_str()?;
            let labels = labels(template.split('?').next()?, path)?;
            (operation["http"]["method"] == method).then(|| (name.clone(), labels))
        };
        // Literal segments take precedence over labels: `/functions/x/aliases` is not a function.
        let found = self.operations.iter().filter_map(fits).min_by_key(|(_, labels)| labels.len());
        let (operation, labels) = found.ok_or_else(|| format!("the service has no {method} {path}"))?;
        let Some(shape) = self.input(&operation) else { return Ok(Call { operation, input: json!({}) }) };
        let shape = &self.shapes[shape];
        let mut input = Map::new();
        if shape["payload"].is_string() {
            input.insert(shape["payload"].as_str().unwrap_or_default().to_owned(), json!(String::from_utf8_lossy(request.body())));
        } else if !request.body().is_empty() {
            input = serde_json::from_slice(request.body()).map_err(|error| format!("the body is not an object: {error}"))?;
        }
        for (name, value) in labels.into_iter().chain(pairs(request.uri().query().unwrap_or_default())) {
            let member = members(shape).find(|(wire, _)| *wire == name);
            let value = member.map_or_else(|| json!(value), |(_, member)| self.typed(member, &value));
            input.insert(name, value);
        }
        Ok(Call { operation, input: input.into() })
    }

    /// Reads the members from a form.
    fn read_query(&self, request: &Request<Bytes>) -> Result<Call, String> {
        let body = std::str::from_utf8(request.body()).map_err(|error| format!("the body is not text: {error}"))?;
        let (mut form, mut action) = (Form::default(), String::new());
        for (name, value) in pairs(body) {
            match name.as_str() {
                "Action" => action = value,
                "Version" => {}
                name => form.insert(name, value),
            }
        }
        let operation = self.known(&action)?;
        let input = self.input(&operation).map_or_else(|| json!({}), |shape| self.nested(&json!({"shape": shape}), &form));
        Ok(Call { operation, input })
    }

    /// Converts a part of a form to the type of the member. The values of a list are numbered: `Tags.member.1.Key`.
    fn nested(&self, member: &Value, form: &Form) -> Value {
        let shape = &self.shapes[member["shape"].as_str().unwrap_or_default()];
        let Form { text, parts } = form;
        match shape["type"].as_str() {
            Some("structure") => {
                let value = |(name, form)| {
                    let member = members(shape).find(|(wire, _)| *wire == name).map_or(&Value::Null, |(_, member)| member);
                    (String::clone(name), self.nested(member, form))
                };
                parts.iter().map(value).collect::<Map<_, _>>().into()
            }
            Some("list") => {
                parts.get("member").iter().flat_map(|list| list.parts.values()).map(|form| self.nested(&shape["member"], form)).collect()
            }
            _ => self.typed(member, text),
        }
    }

    /// Converts a text to the type of the member.
    fn typed(&self, member: &Value, text: &str) -> Value {
        match self.shapes[member["shape"].as_str().unwrap_or_default()]["type"].as_str() {
            Some("integer" | "long" | "boolean") => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
            _ => json!(text),
        }
    }
}

/// Returns the members of a structure by their names in requests.
fn members(shape: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = shape["members"].as_object().into_iter().flatten();
    members.map(|(name, member)| (member["locationName"].as_str().unwrap_or(name), member))
}

/// Returns the values of `{Name}` in a path template, if the path matches it.
fn labels(template: &str, path: &str) -> Option<Vec<(String, String)>> {
    let (mut parts, mut labels) = (path.trim_end_matches('/').split('/'), Vec::new());
    for wanted in template.trim_end_matches('/').split('/') {
        let part = parts.next()?;
        match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => labels.push((name.to_owned(), decoded(part))),
            None if wanted == part => {}
            None => return None,
        }
    }
    parts.next().is_none().then_some(labels)
}

/// Returns the pairs of a query or a form.
fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(name, value)| (decoded(name), decoded(&value.replace('+', " "))))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Converts a shape to a JSON Schema, which refers to other shapes by name.
fn schema(name: &str, shape: &Value) -> Value {
    let reference = |member: &Value| json!({"$ref": format!("#/$defs/{}", member["shape"].as_str().expect("a member has a shape"))});
    let limits = |schema: Value, [least, most]: [&str; 2]| limited(schema, shape, least, most);
    match shape["type"].as_str().expect("a shape has a type") {
        "structure" => {
            let properties: Map<String, Value> = members(shape).map(|(wire, member)| (wire.to_owned(), reference(member))).collect();
            let wire = |required: &Value| {
                let required = required.as_str().expect("a name");
                shape["members"][required]["locationName"].as_str().unwrap_or(required).to_owned()
            };
            let required: Vec<_> = shape["required"].as_array().into_iter().flatten().map(wire).collect();
            let mut schema = json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
            // The DynamoDB model does not mark this as a union.
            if shape["union"] == true || name == "AttributeValue" {
                schema["minProperties"] = json!(1);
                schema["maxProperties"] = json!(1);
            }
            schema
        }
        "list" => limits(json!({"type": "array", "items": reference(&shape["member"])}), ["minItems", "maxItems"]),
        "map" => {
            let (key, value) = (reference(&shape["key"]), reference(&shape["value"]));
            limits(json!({"type": "object", "propertyNames": key, "additionalProperties": value}), ["minProperties", "maxProperties"])
        }
        "string" => {
            let mut schema = limits(json!({"type": "string"}), ["minLength", "maxLength"]);
            if let Some(pattern) = shape["pattern"].as_str() {
                // The services match the whole text.
                schema["pattern"] = json!(format!("^(?:{pattern})$"));
            }
            if shape["enum"].is_array() {
                schema["enum"] = shape["enum"].clone();
            }
            schema
        }
        "integer" | "long" => limits(json!({"type": "integer"}), ["minimum", "maximum"]),
        "float" | "double" => limits(json!({"type": "number"}), ["minimum", "maximum"]),
        "boolean" => json!({"type": "boolean"}),
        "timestamp" => json!({"type": ["number", "string"]}),
        // In base64, or raw if it is the whole body.
        "blob" => json!({"type": "string"}),
        other => panic!("the type {other} of {name} is not known"),
    }
}

fn limited(mut schema: Value, shape: &Value, least: &str, most: &str) -> Value {
    for (limit, name) in [("min", least), ("max", most)] {
        if !shape[limit].is_null() {
            schema[name] = shape[limit].clone();
        }
    }
    schema
}
