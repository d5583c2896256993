//! Where the published files come from.

/// A published file or directory.
struct Source {
    name: &'static str,
    publisher: &'static str,
    size: &'static str,
    licence: &'static str,
}

/// Sizes are given where their publishers state them or they follow from the tensors.
const SOURCES: [Source; 4] = [
    Source {
        name: "eva_vit_g.pth",
        publisher: "LAVIS (Salesforce), the BLIP-2 vision encoder: storage.googleapis.com/sfr-vision-language-research/LAVIS/models/BLIP2/eva_vit_g.pth",
        size: "about 2 GB (1.0 billion weights in fp16)",
        licence: "LAVIS is BSD-3-Clause; EVA is MIT",
    },
    Source {
        name: "checkpoint_best.pth",
        publisher: "Hugging Face, hlwu/DeltaVLM",
        size: "not stated by its publisher; the optimizer's state, which is not read, is in it",
        licence: "`other`: its page refers to the project, the data set and the base model",
    },
    Source {
        name: "vicuna-7b-v1.5/ (config.json, tokenizer.model, weights and their index)",
        publisher: "Hugging Face, lmsys/vicuna-7b-v1.5; llava-hf/llava-1.5-7b-hf is a used substitute",
        size: "about 13.5 GB (6.7 billion weights in fp16)",
        licence: "Llama 2 Community License, to be agreed to",
    },
    Source {
        name: "vocab.txt",
        publisher: "Hugging Face, bert-base-uncased (this file only)",
        size: "0.2 MB",
        licence: "Apache-2.0",
    },
];

/// The list, and the one command that follows.
pub(crate) fn sources() -> String {
    let mut text = "The published model is four downloads, put into one folder, `originals` say; names and\nsubfolders do not matter, since files are told by their content.\n\n".to_owned();
    for source in &SOURCES {
        text += source.name;
        for (label, value) in [
            ("from", source.publisher),
            ("size", source.size),
            ("licence", source.licence),
        ] {
            text += &format!("\n  {label:<8} {value}");
        }
        text += "\n\n";
    }
    text += "\
instruct_blip_vicuna7b_trimmed.pth is not needed for the released checkpoint.

Disk: the downloads, and 5.3 GB for an int4 bundle, 8 GB for int8, 16 GB for f16.
Memory: below 1 GB, since weights are streamed.

Then:
  dvlm-export build originals --precision int4 --segment-precision vision=int8 --out deltavlm-int4

Without the published files, random weights in the same layouts:
  dvlm-export synth --size tiny --out originals
  dvlm-export build originals --precision int8 --out bundle
";
    text
}
