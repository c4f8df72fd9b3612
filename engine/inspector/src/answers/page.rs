//! The page that a refused request gets, in English and in Urdu: what was refused (the name, never the path), why, by
//! which list and rule, until when, and how to appeal. It has no script, loads nothing, sets nothing, and says nothing
//! of its reader. What the operator has not given it says is not given.

use super::text::{cut, escaped};
use super::Refusal;

/// A value is cut to this, so that a page stays a few segments.
const VALUE_BYTES_MAX: usize = 400;

/// What may become a link; anything else is shown as text.
const LINK_STARTS: [&str; 4] = ["https://", "http://", "mailto:", "tel:"];

const STYLE: &str = "body{margin:0;padding:1rem;font:1rem/1.5 system-ui,sans-serif;color:#1b1b1b;background:#f4f4f2}\
main{max-width:40rem;margin:auto}\
section{background:#fff;border:1px solid #d5d5d0;border-radius:.5rem;padding:1rem 1.25rem;margin-bottom:1rem}\
h1,h2{font-size:1.3rem;line-height:1.4;margin:0 0 .5rem}\
dt{color:#555;font-size:.85rem;margin-top:.5rem}dd{margin:0;overflow-wrap:anywhere}a{overflow-wrap:anywhere}\
[lang=ur]{font-family:'Noto Nastaliq Urdu','Jameel Noori Nastaleeq','Noto Naskh Arabic',sans-serif;line-height:2.2}\
[lang=ur] dt{font-size:1rem}bdi,[dir=ltr]{font-family:system-ui,sans-serif}\
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}section{background:#222;border-color:#444}\
dt{color:#aaa}a{color:#9cf}}";

/// One language's sentences.
struct Words {
    refused: &'static str,
    unreached: &'static str,
    according: &'static str,
    name: &'static str,
    reason: &'static str,
    source: &'static str,
    rule: &'static str,
    until: &'static str,
    at: &'static str,
    mistaken: &'static str,
    appeal_at: &'static str,
    ask: &'static str,
    give_rule: &'static str,
    no_appeal_url: &'static str,
    no_contact: &'static str,
    nobody: &'static str,
    of_reason: fn(&str) -> Option<&'static str>,
}

const ENGLISH: Words = Words {
    refused: "This network refuses this name",
    unreached: "Your request did not reach the server. This is a security rule of the network, not a fault of your \
                device.",
    according: "According to the source named below, it",
    name: "Name",
    reason: "Reason",
    source: "Source",
    rule: "Rule",
    until: "In force until (UTC)",
    at: "Refused at (UTC)",
    mistaken: "Is this a mistake?",
    appeal_at: "Appeal here:",
    ask: "Ask:",
    give_rule: "Please quote the rule and the name.",
    no_appeal_url: "The operator of this network has not given an address for appeals.",
    no_contact: "The operator of this network has not given a contact.",
    nobody: "The operator of this network has not given an address for appeals, nor a contact, so this page cannot \
             say whom to ask. Turn to whoever provides your connection.",
    of_reason: |reason| {
        Some(match reason {
            "malware" => "serves or spreads malicious software.",
            "phishing" => "takes passwords and other credentials under another's name.",
            "botnet-c2" => "commands infected machines.",
            "exploit" => "attacks weaknesses in software.",
            "scanner" => "looks for weaknesses, uninvited.",
            "brute-force" => "tries passwords in order to break in.",
            "flood" => "sends traffic to exhaust others, not to talk.",
            "spoofed" => "must not be the source of any traffic here.",
            _ => return None,
        })
    },
};

const URDU: Words = Words {
    refused: "اس نیٹ ورک نے اس نام تک رسائی روک دی ہے",
    unreached: "آپ کی درخواست سرور تک نہیں پہنچی۔ یہ نیٹ ورک کا حفاظتی قاعدہ ہے، آپ کے آلے کی خرابی نہیں۔",
    according: "نیچے دیے گئے ماخذ کے مطابق یہ",
    name: "نام",
    reason: "وجہ",
    source: "ماخذ",
    rule: "قاعدہ",
    until: "کب تک نافذ ہے (UTC)",
    at: "کب روکا گیا (UTC)",
    mistaken: "کیا یہ غلطی ہے؟",
    appeal_at: "یہاں اپیل کریں:",
    ask: "رابطہ کریں:",
    give_rule: "براہِ کرم قاعدے اور نام کا حوالہ ضرور دیں۔",
    no_appeal_url: "اس نیٹ ورک کے منتظم نے اپیل کے لیے کوئی پتہ نہیں دیا۔",
    no_contact: "اس نیٹ ورک کے منتظم نے رابطے کا کوئی ذریعہ نہیں دیا۔",
    nobody: "اس نیٹ ورک کے منتظم نے اپیل کے لیے کوئی پتہ نہیں دیا اور نہ رابطے کا کوئی ذریعہ، اس لیے یہ صفحہ نہیں \
             بتا سکتا کہ کس سے پوچھا جائے۔ جو ادارہ آپ کو انٹرنیٹ فراہم کرتا ہے اُس سے رجوع کریں۔",
    of_reason: |reason| {
        Some(match reason {
            "malware" => "نقصان دہ سافٹ ویئر فراہم کرتا یا پھیلاتا ہے۔",
            "phishing" => "کسی اور کا روپ دھار کر پاس ورڈ اور دیگر خفیہ معلومات حاصل کرتا ہے۔",
            "botnet-c2" => "وائرس زدہ کمپیوٹروں کو احکامات دیتا ہے۔",
            "exploit" => "سافٹ ویئر کی کمزوریوں پر حملہ کرتا ہے۔",
            "scanner" => "بلا اجازت کمزوریاں تلاش کرتا ہے۔",
            "brute-force" => "پاس ورڈ آزما کر زبردستی داخل ہونے کی کوشش کرتا ہے۔",
            "flood" => "دوسروں کو مفلوج کرنے کے لیے بے تحاشا ٹریفک بھیجتا ہے۔",
            "spoofed" => "یہاں کسی ٹریفک کا ماخذ نہیں ہو سکتا۔",
            _ => return None,
        })
    },
};

/// The whole document. `at` is the time of the refusal.
pub(super) fn page(refusal: &Refusal<'_>, at: &str) -> String {
    let name = value(refusal.name);
    let english = told(&ENGLISH, refusal, at, "h1");
    let urdu = told(&URDU, refusal, at, "h2");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Refused: {name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <section>\n{english}</section>\n\
         <section lang=\"ur\" dir=\"rtl\">\n{urdu}</section>\n\
         </main>\n</body>\n</html>\n"
    )
}

fn told(words: &Words, refusal: &Refusal<'_>, at: &str, heading: &str) -> String {
    let says = (words.of_reason)(refusal.reason).map(|says| format!("{} {says}", words.according));
    let rows = [
        (words.name, refusal.name),
        (words.reason, refusal.reason),
        (words.source, refusal.source),
        (words.rule, refusal.rule),
        (words.until, refusal.until),
        (words.at, at),
    ];
    let rows: String = rows
        .iter()
        .map(|(term, text)| format!("<dt>{term}</dt><dd><bdi dir=\"ltr\">{}</bdi></dd>\n", value(text)))
        .collect();
    format!(
        "<{heading}>{}</{heading}>\n<p>{} {}</p>\n<dl>\n{rows}</dl>\n<p><strong>{}</strong><br>\n{}</p>\n",
        words.refused,
        says.unwrap_or_default(),
        words.unreached,
        words.mistaken,
        appeal(words, refusal)
    )
}

/// Whom to turn to, as far as the operator says: a line each.
fn appeal(words: &Words, refusal: &Refusal<'_>) -> String {
    let at = |url| format!("{} {}", words.appeal_at, link(url));
    let ask = |contact| format!("{} {}", words.ask, link(contact));
    let whom = match (refusal.appeal_url, refusal.contact) {
        (Some(url), Some(contact)) => format!("{}<br>\n{}", at(url), ask(contact)),
        (Some(url), None) => format!("{}<br>\n{}", at(url), words.no_contact),
        (None, Some(contact)) => format!("{}<br>\n{}", words.no_appeal_url, ask(contact)),
        (None, None) => words.nobody.to_owned(),
    };
    format!("{whom}<br>\n{}", words.give_rule)
}

fn link(target: &str) -> String {
    let shown = value(target);
    let is_link =
        LINK_STARTS.iter().any(|start| target.starts_with(start)) && target.len() <= VALUE_BYTES_MAX;
    if is_link {
        format!("<a dir=\"ltr\" href=\"{shown}\">{shown}</a>")
    } else {
        format!("<bdi dir=\"ltr\">{shown}</bdi>")
    }
}

fn value(text: &str) -> String {
    escaped(cut(text, VALUE_BYTES_MAX))
}
