"""Load a staged directory with plain transformers, as another user would.

A script; never imported.

Arguments: the directory, then `nlp_ft` for what it alone opens: an adapter over a base, an ONNX export.
Input: a JSON list of texts or pairs. Output: their logits.
"""

import json
import sys


def main() -> None:
    """Print {"logits": [...], "nlp_ft": whether that package was imported}."""
    directory, texts = sys.argv[1], json.load(sys.stdin)
    if "nlp_ft" in sys.argv[2:]:  # peft alone keeps neither the label count nor the names
        from nlp_ft.inference.load import load

        logits = load(directory, device="cpu").logits(texts, batch_size=1).tolist()
    else:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        model = AutoModelForSequenceClassification.from_pretrained(
            directory, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        ).eval()
        tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
        with torch.inference_mode():
            rows = [[text] if isinstance(text, str) else text for text in texts]
            batches = [tokenizer(*row, truncation=True, return_tensors="pt") for row in rows]
            logits = [model(**batch).logits[0].tolist() for batch in batches]
    print(json.dumps({"logits": logits, "nlp_ft": "nlp_ft" in sys.modules}))


if __name__ == "__main__":
    main()
