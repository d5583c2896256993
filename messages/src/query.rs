//! What the ground asks.

use core::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{EnumAccess, Error, SeqAccess, Unexpected, VariantAccess, Visitor},
    ser::SerializeStructVariant,
};

use crate::{Instruction, text::Text};

/// Names a request of the ground, so that its answer can be told from others.
/// The ground chooses it; the board only gives it back.
pub type QueryId = u16;

/// A question about one tile. A fixed instruction takes at most nine bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Comes back in the answer.
    pub id: QueryId,
    /// The tile, as the operator numbers them.
    pub tile: u32,
    /// What is asked.
    pub prompt: Prompt,
}

/// What is asked about a tile.
///
/// On the wire an enumeration in which an instruction has its own
/// [number](Instruction::number), an open question 5, and a follow-up 6.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prompt {
    /// A fixed instruction.
    Fixed(Instruction),
    /// A question in free words.
    Open(Text),
    /// A further turn of the dialogue that `after` belongs to.
    FollowUp {
        /// An earlier query about the same tile.
        after: QueryId,
        /// The question.
        text: Text,
    },
}

impl From<Instruction> for Prompt {
    fn from(instruction: Instruction) -> Self {
        Self::Fixed(instruction)
    }
}

const NAME: &str = "Prompt";
const OPEN: u32 = 5;
const FOLLOW_UP: u32 = 6;
const VARIANTS: &[&str] = &[
    "classify",
    "count",
    "localize",
    "caption",
    "survey",
    "open",
    "follow_up",
];

impl Serialize for Prompt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(instruction) => serializer.serialize_unit_variant(
                NAME,
                u32::from(instruction.number()),
                instruction.name(),
            ),
            Self::Open(text) => serializer.serialize_newtype_variant(NAME, OPEN, "open", text),
            Self::FollowUp { after, text } => {
                let mut fields =
                    serializer.serialize_struct_variant(NAME, FOLLOW_UP, "follow_up", 2)?;
                fields.serialize_field("after", after)?;
                fields.serialize_field("text", text)?;
                fields.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_enum(NAME, VARIANTS, PromptVisitor)
    }
}

struct PromptVisitor;

impl<'de> Visitor<'de> for PromptVisitor {
    type Value = Prompt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a prompt")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Prompt, A::Error> {
        let (number, fields): (u32, _) = data.variant()?;
        match number {
            OPEN => fields.newtype_variant().map(Prompt::Open),
            FOLLOW_UP => fields.struct_variant(&["after", "text"], FollowUpVisitor),
            _ => {
                let instruction = u8::try_from(number)
                    .ok()
                    .and_then(Instruction::from_number)
                    .ok_or_else(|| {
                        A::Error::invalid_value(Unexpected::Unsigned(number.into()), &self)
                    })?;
                fields.unit_variant()?;
                Ok(Prompt::Fixed(instruction))
            }
        }
    }
}

struct FollowUpVisitor;

impl<'de> Visitor<'de> for FollowUpVisitor {
    type Value = Prompt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an earlier query and a question")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<Prompt, A::Error> {
        let after = fields.next_element()?;
        let text = fields.next_element()?;
        match (after, text) {
            (Some(after), Some(text)) => Ok(Prompt::FollowUp { after, text }),
            (None, _) => Err(A::Error::invalid_length(0, &self)),
            (_, None) => Err(A::Error::invalid_length(1, &self)),
        }
    }
}
