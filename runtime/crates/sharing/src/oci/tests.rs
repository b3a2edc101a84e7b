//! Manifests: what is published is read again and has the form that other tools expect; other forms are refused.

use klines_domain::secret::Secret;
use serde_json::{Value, json};

use super::super::signing::{self, SigningKey};
use super::*;

const COMPONENT: &[u8] = b"a component";

fn publication() -> Publication {
    let password = Secret::new("correct horse battery".to_owned());
    let keys = signing::generate(&password).unwrap();
    let key = SigningKey::unlock(&keys.private_file, &password).unwrap();
    let signature = key.sign(COMPONENT, "demo.wasm").unwrap();
    let imports = ["wasi:cli/environment@0.2.0".to_owned()];
    let exports = ["klines:consumer/consumer@1.2.0".to_owned()];
    let about = About { title: "demo", version: "1.2.0", description: "", exports: &exports, imports: &imports };
    let made = Publication::new(COMPONENT, about, &signature).unwrap();
    assert_eq!(Publication::new(COMPONENT, about, &signature).unwrap(), made, "publishing can be repeated");
    made
}

/// A change of a manifest.
type Change<'a> = &'a dyn Fn(&mut Value);

#[test]
fn what_is_published_has_the_form_of_other_tools_and_is_read_again() {
    let Publication { config, manifest } = publication();
    let (json, wanted): (Value, _) = (serde_json::from_slice(&manifest).unwrap(), Digest::of(COMPONENT).to_string());
    let signature = json["annotations"]["klines.minisig"].as_str().unwrap().to_owned();
    let expected = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.wasm.config.v0+json",
            "digest": Digest::of(&config).to_string(),
            "size": config.len(),
        },
        "layers": [{ "mediaType": "application/wasm", "digest": wanted, "size": COMPONENT.len() }],
        "annotations": {
            "org.opencontainers.image.title": "demo",
            "org.opencontainers.image.version": "1.2.0",
            "klines.minisig": signature,
        },
    });
    assert_eq!(json, expected);
    let config: Value = serde_json::from_slice(&config).unwrap();
    let expected = json!({
        "created": "1970-01-01T00:00:00Z",
        "author": null,
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [wanted],
        "component": {
            "exports": ["klines:consumer/consumer@1.2.0"],
            "imports": ["wasi:cli/environment@0.2.0"],
            "target": null,
        },
    });
    assert_eq!(config, expected);
    let layer = Descriptor::of(LAYER_TYPE, COMPONENT);
    assert_eq!(Artifact::parse(&manifest), Ok(Artifact { layer, signature: Some(signature) }));
}

#[test]
fn manifests_of_something_else_are_refused() {
    let manifest = publication().manifest;
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut json: Value = serde_json::from_slice(&manifest).unwrap();
        change(&mut json);
        Artifact::parse(&serde_json::to_vec(&json).unwrap())
    };
    let index = "application/vnd.oci.image.index.v1+json";
    let refused: [(ArtifactError, Change<'_>); 8] = [
        (ArtifactError::Kind(index.to_owned()), &|json| *json = json!({ "mediaType": index, "manifests": [] })),
        (ArtifactError::Artifact("x/y".to_owned()), &|json| json["artifactType"] = json!("x/y")),
        (ArtifactError::Artifact("x/y".to_owned()), &|json| json["config"]["mediaType"] = json!("x/y")),
        (ArtifactError::Layers(0), &|json| json["layers"] = json!([])),
        (ArtifactError::Layers(2), &|json| json["layers"] = json!([json["layers"][0], json["layers"][0]])),
        (ArtifactError::Layer("xy".to_owned()), &|json| json["layers"][0]["mediaType"] = json!("x\u{1b}y")),
        (ArtifactError::Signature(5_000), &|json| json["annotations"][SIGNATURE] = json!("x".repeat(5_000))),
        (ArtifactError::Malformed("its schemaVersion is 1, and not 2".to_owned()), &|json| {
            json["schemaVersion"] = json!(1)
        }),
    ];
    for (expected, change) in refused {
        assert_eq!(changed(change), Err(expected));
    }
    let malformed: [Change<'_>; 4] = [
        &|json| json["layers"][0]["digest"] = json!("sha256:short"),
        &|json| json["layers"][0]["size"] = json!(-1),
        &|json| json["annotations"][SIGNATURE] = json!(1),
        &|json| *json = json!("text"),
    ];
    for change in malformed {
        assert!(matches!(changed(change), Err(ArtifactError::Malformed(_))));
    }
    assert!(matches!(Artifact::parse(b""), Err(ArtifactError::Malformed(_))));
    // Without a signature it is still a component; whether it is accepted is decided elsewhere.
    let unsigned = changed(&|json| {
        json.as_object_mut().unwrap().remove("annotations");
    });
    assert_eq!(unsigned.unwrap().signature, None);
}
