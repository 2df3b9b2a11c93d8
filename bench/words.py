"""Names and cards of packages that do not exist, distributed as those of a real registry are."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate


def _listed(text: str) -> list[str]:
    return text.split()


_FAMILIES = _listed(
    "bert roberta gpt2 llama mistral t5 qwen distilbert vit whisper gemma falcon phi deberta bart xlm-roberta electra "
    "clip wav2vec2 stable-diffusion mixtral yi starcoder bloom opt pythia albert mpnet e5 bge minilm resnet convnext "
    "swin detr yolo segformer sam blip layoutlm donut trocr speecht5 hubert bark musicgen mamba rwkv olmo smollm"
)
_SIZES = _listed("tiny mini small base large xl 125m 350m 1b 3b 7b 8b 13b 34b 70b v2 v3")
_TASKS = _listed(
    "squad sst2 mnli ner sentiment summarization qa chat instruct embedding toxicity finance legal medical code "
    "translation ranking captioning detection segmentation asr tts retrieval intent topic paraphrase emotion"
)
_TWISTS = _listed("cased uncased multilingual finetuned distilled lora merged gguf awq gptq int8 fp16 onnx en de fr zh")
_ONSETS = _listed("b br c ch cl d dr f fl g gr h j k kl l m n p pl pr qu r s sh sk sl st t th tr v w z")
_VOWELS = _listed("a e i o u ai ea io ou")
_CODAS = ["", "", "n", "r", "s", "t", "l", "m", "nd", "rt", "st", "ck", "ng"]
_CONNECTIVES = _listed(
    "the of and to in a is that for it was on are as with this by be from or at which an we can not has have model data "
    "training evaluation dataset tokens results fine-tuned language weights license learning score batch"
)
_HEADINGS = (
    "Model description",
    "Intended uses and limitations",
    "How to use",
    "Training data",
    "Training procedure",
    "Evaluation results",
    "Bias, risks and limitations",
    "Environmental impact",
    "Citation",
)
_CODE = (
    "```python\nfrom transformers import AutoModel, AutoTokenizer\n\ntokenizer = AutoTokenizer.from_pretrained('{name}')\n"
    "model = AutoModel.from_pretrained('{name}')\nprint(model(**tokenizer('Hello', return_tensors='pt')))\n```"
)

LICENSES = ("apache-2.0", "mit", "openrail", "cc-by-4.0", "llama2", "gpl-3.0", "cc-by-nc-4.0", "bsd-3-clause")
TEMPLATES = 6
_SENTENCES = 1500


@dataclass(frozen=True)
class Name:
    """A package's name, and what it is made of."""

    text: str
    family: str
    number: int


class Words:
    """Names, versions and cards, the same for the same seed."""

    def __init__(self, seed: int = 1) -> None:
        chance = random.Random(seed)
        self._vocabulary = _vocabulary(chance, 6000)
        self._owners = [
            "".join(_syllables(chance, 2)) + chance.choice(["", "-ai", "-labs", "nlp"]) for _ in range(4000)
        ]
        self._family_weights = _zipf(len(_FAMILIES), 0.8)
        self._owner_weights = _zipf(len(self._owners), 0.9)
        self._templates = [self._template(chance) for _ in range(TEMPLATES)]

    def names(self, count: int, seed: int = 2) -> list[Name]:
        """`count` names that differ, a few owners and families having most of them."""
        chance = random.Random(seed)
        found: dict[str, Name] = {}
        while len(found) < count:
            owner = chance.choices(self._owners, cum_weights=self._owner_weights)[0]
            family = chance.choices(_FAMILIES, cum_weights=self._family_weights)[0]
            parts = [family, chance.choice(_SIZES)]
            if chance.random() < 0.8:
                parts.append(chance.choice(_TASKS))
            if chance.random() < 0.6:
                parts.append(chance.choice(_TWISTS))
            if chance.random() < 0.5:
                parts.append(chance.choice(self._vocabulary[100:]))
            text = f"{owner}/{'-'.join(parts)}"
            found.setdefault(text.lower(), Name(text, family, len(found)))
        return list(found.values())

    def card(self, name: Name, version: str, sentences: int) -> str:
        """A model card of its name's own, which says a little more with every version."""
        chance = random.Random(name.number)
        headings, stock = self._templates[name.number % TEMPLATES]
        chosen = chance.choices(stock, k=sentences)
        step = max(3, sentences // len(headings))
        parts = [f"# {name.text}\n\n{name.text} {version} is made from {name.family}."]
        # A short card has the first of them only.
        for n, heading in enumerate(headings[: -(-sentences // step)]):
            parts.append(f"## {heading}\n\n{' '.join(chosen[n * step : (n + 1) * step])}")
            if heading == "How to use":
                parts.append(_CODE.format(name=name.text))
        # A handful of words that few other cards have: what people search by.
        parts.append(" ".join(chance.choices(self._vocabulary, k=12)) + f" release {version}.")
        return "\n\n".join(parts)

    def some(self, chance: random.Random, count: int) -> list[str]:
        """`count` words, all as likely."""
        return chance.choices(self._vocabulary, k=count)

    def _template(self, chance: random.Random) -> tuple[Sequence[str], Sequence[str]]:
        weights = _zipf(len(self._vocabulary), 1.0)
        stock = []
        for _ in range(_SENTENCES):
            words = chance.choices(self._vocabulary, cum_weights=weights, k=chance.randint(8, 20))
            stock.append(" ".join(words).capitalize() + ".")
        return chance.sample(_HEADINGS, k=chance.randint(6, len(_HEADINGS))), stock


def _vocabulary(chance: random.Random, count: int) -> list[str]:
    found = dict.fromkeys(_CONNECTIVES)
    while len(found) < count:
        found["".join(_syllables(chance, chance.randint(1, 4)))] = None
    return list(found)


def _syllables(chance: random.Random, count: int) -> list[str]:
    return [chance.choice(_ONSETS) + chance.choice(_VOWELS) + chance.choice(_CODAS) for _ in range(count)]


def _zipf(count: int, power: float) -> list[float]:
    return list(accumulate(1 / (rank + 1) ** power for rank in range(count)))
