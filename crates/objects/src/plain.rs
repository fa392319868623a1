//! The plain form of settings. The clients of stores end their process over some that have another, so each is looked at
//! before a client is made of it.

/// Refuses what is no address of a store, without repeating a secret that may be in it.
pub(crate) fn endpoint(text: &str) -> Result<(), String> {
    let example = "write it as in \"https://host:9000\"";
    let url = reqwest::Url::parse(text).map_err(|error| format!("is no URL ({error}): {example}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("is no URL of http or https: {example}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or a password in it: credentials have settings of their own".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("has a '?' or a '#' in it: {example}"));
    }
    // Kept as it is written: a parser forgives what a request's first line does not.
    if text.chars().any(|character| !character.is_ascii_graphic()) {
        return Err(format!("has a space, a control character or a letter that is not ASCII in it: {example}"));
    }
    Ok(())
}

/// Refuses what cannot stand in a header: key ids, tokens, regions, accounts.
pub(crate) fn word(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.chars().any(|character| !character.is_ascii_graphic()) {
        return Err("has a space, a line break or a letter that is not ASCII in it: write it without".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_plain_addresses() {
        for good in
            ["http://127.0.0.1:9000", "https://minio.example", "http://127.0.0.1:10000/account", "http://[::1]:9"]
        {
            assert_eq!(endpoint(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "minio:9000",
            "minio",
            "ftp://minio",
            "http://",
            "http://me:secret@minio",
            "http://minio?a",
            "http://minio#a",
            "http://mi nio",
            "http://minio/\n",
            "http://minio:99999",
            "http://mínio",
        ] {
            let fault = endpoint(bad).expect_err(bad);
            assert!(!fault.contains("secret"), "{fault}");
        }
    }

    #[test]
    fn words_stand_in_headers() {
        assert_eq!(word("AKIAEXAMPLE/+="), Ok(()));
        for bad in ["", "a b", "a\n", "\u{e9}"] {
            assert!(word(bad).is_err(), "{bad:?}");
        }
    }
}
