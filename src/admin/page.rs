//! The status page: plain files that are part of the program, and what a browser may do with them.
//!
//! Invariant: the page runs its own script and style and nothing else, asks nobody but this listener, and stands in
//! nobody's frame. It holds no data itself: what it shows it asks for at `/api/status`, under the same rules as everybody.

use super::Page;

/// The page's files: itself, and what it names.
pub(super) fn file(path: &str) -> Option<Page> {
    let (content_type, text) = match path {
        "/" => (HTML, include_str!("page/index.html")),
        "/page.css" => ("text/css; charset=utf-8", include_str!("page/page.css")),
        "/page.js" => ("text/javascript; charset=utf-8", include_str!("page/page.js")),
        "/words.js" => ("text/javascript; charset=utf-8", include_str!("page/words.js")),
        "/icon.svg" => ("image/svg+xml", include_str!("page/icon.svg")),
        _ => return None,
    };
    Some(Page(200, content_type, text.to_owned()))
}

/// For the page itself, and for every other answer here, which then does nothing if a browser shows it.
pub(super) const SECURITY_HEADERS: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
];

const HTML: &str = "text/html; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_page_is_small_and_has_nothing_inline_and_nothing_from_elsewhere() {
        let files = ["/", "/page.css", "/page.js", "/words.js", "/icon.svg"];
        let texts: Vec<String> = files.iter().map(|path| file(path).unwrap().2).collect();
        let bytes: usize = texts.iter().map(String::len).sum();
        assert!(bytes < BYTES_MAX, "{bytes} bytes");
        let html = &texts[0];
        for inline in [" style=", "<style", " onclick", " onload", "<script>"] {
            assert!(!html.contains(inline), "{inline}");
        }
        for text in &texts {
            for way in ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "@import"] {
                assert!(!text.contains(way), "{way}");
            }
            let mut foreign =
                text.split("://").skip(1).filter(|rest| !rest.starts_with("www.w3.org/2000/svg"));
            assert_eq!(foreign.next().map(|rest| &rest[..20]), None, "an address of somebody else");
        }
    }

    const BYTES_MAX: usize = 60 * 1024;
}
