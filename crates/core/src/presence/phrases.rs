//! The standard status texts by language.

use super::states::Phrase;

/// A language that the gateway has the standard texts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Language(usize);

/// One text in every language.
type Row = (Phrase, [&'static str; 11]);

/// Language tags (BCP 47) of the languages that there are texts in.
pub const LANGUAGES: [&str; 11] = [
    "en", "de", "fr", "es", "it", "nl", "pt", "pl", "ru", "ja", "zh",
];

#[rustfmt::skip]
const TEXTS: [Row; 9] = [
    (Phrase::InACall, [
        "In a call", "Im Gespräch", "Au téléphone", "En una llamada", "Al telefono", "In gesprek", "Em chamada",
        "Rozmawia przez telefon", "Разговаривает по телефону", "通話中", "正在通话",
    ]),
    (Phrase::InAConference, [
        "In a conference", "In einer Konferenz", "En conférence", "En una conferencia", "In conferenza",
        "In een conferentie", "Em conferência", "Na konferencji", "На конференции", "会議通話中", "正在参加电话会议",
    ]),
    (Phrase::InAMeeting, [
        "In a meeting", "In einer Besprechung", "En réunion", "En una reunión", "In riunione", "In een vergadering",
        "Em reunião", "Na spotkaniu", "На собрании", "会議中", "正在开会",
    ]),
    (Phrase::Presenting, [
        "Presenting", "Hält eine Präsentation", "Fait une présentation", "En una presentación", "In presentazione",
        "Geeft een presentatie", "Em apresentação", "Prowadzi prezentację", "Проводит презентацию",
        "プレゼンテーション中", "正在演示",
    ]),
    (Phrase::UrgentOnly, [
        "Urgent interruptions only", "Nur in dringenden Fällen", "Interruptions urgentes uniquement",
        "Solo interrupciones urgentes", "Solo interruzioni urgenti", "Alleen dringende onderbrekingen",
        "Apenas interrupções urgentes", "Tylko pilne sprawy", "Только в срочных случаях", "緊急時のみ応対可",
        "仅限紧急事务打扰",
    ]),
    (Phrase::BeRightBack, [
        "Be right back", "Bin gleich zurück", "De retour bientôt", "Vuelvo enseguida", "Torno subito", "Zo terug",
        "Volto já", "Zaraz wracam", "Скоро вернусь", "一時退席中", "马上回来",
    ]),
    (Phrase::OutToLunch, [
        "Out to lunch", "In der Mittagspause", "Parti déjeuner", "En la comida", "A pranzo", "Lunchpauze", "No almoço",
        "Na obiedzie", "На обеде", "昼休み中", "外出午餐",
    ]),
    (Phrase::OffWork, [
        "Off work", "Nicht bei der Arbeit", "En dehors du travail", "Fuera del trabajo", "Non al lavoro",
        "Niet aan het werk", "Fora do trabalho", "Poza pracą", "Не на работе", "勤務時間外", "下班",
    ]),
    (Phrase::OutOfOffice, [
        "Out of office", "Nicht im Büro", "Absent du bureau", "Fuera de la oficina", "Fuori ufficio", "Niet op kantoor",
        "Fora do escritório", "Poza biurem", "Вне офиса", "オフィスに不在", "不在办公室",
    ]),
];

impl Language {
    /// The language of a tag: the one it names, or the one that it is a variant of (`de-AT` is `de`).
    #[must_use]
    pub fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        LANGUAGES
            .iter()
            .position(|known| known.eq_ignore_ascii_case(primary))
            .map(Self)
    }

    /// Its tag.
    #[must_use]
    pub fn tag(self) -> &'static str {
        LANGUAGES.get(self.0).copied().unwrap_or("en")
    }
}

/// A standard text in a language.
#[must_use]
pub fn text_of(phrase: Phrase, language: Language) -> &'static str {
    TEXTS
        .iter()
        .find(|(own, _)| *own == phrase)
        .and_then(|(_, texts)| texts.get(language.0))
        .copied()
        .unwrap_or_default()
}
