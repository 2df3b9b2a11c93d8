"""Names of models on the public hub that nearly everybody knows, so that nobody's upload passes for one of them.

Written from general knowledge of the hub in 2024 and 2025: its most used and most copied models, without those whose name
is everybody's word (`embedding`, `bert-base`). No ranking was fetched, and the list is neither complete nor kept up by
itself; a name that is missing is only not compared with.
"""

_LISTED = """
google-bert/ bert-base-uncased bert-base-cased bert-large-uncased bert-large-cased bert-base-multilingual-cased
 bert-base-multilingual-uncased bert-base-chinese bert-base-german-cased
google/ electra-small-discriminator electra-base-discriminator electra-large-discriminator flan-t5-small flan-t5-base
 flan-t5-large flan-t5-xl flan-t5-xxl flan-ul2 mt5-small mt5-base mt5-large t5-v1_1-base t5-v1_1-large byt5-small byt5-base
 vit-base-patch16-224 vit-base-patch16-224-in21k vit-large-patch16-224 siglip-base-patch16-224 siglip-so400m-patch14-384
 gemma-2b gemma-2b-it gemma-7b gemma-7b-it gemma-2-2b gemma-2-2b-it gemma-2-9b gemma-2-9b-it gemma-2-27b gemma-2-27b-it
 gemma-3-1b-it gemma-3-4b-it gemma-3-12b-it gemma-3-27b-it paligemma-3b-pt-224 owlvit-base-patch32 owlv2-base-patch16
 pegasus-xsum pegasus-large bigbird-roberta-base long-t5-tglobal-base mobilebert-uncased canine-s tapas-base-finetuned-wtq
 fnet-base muril-base-cased deplot pix2struct-base mobilenet_v2_1.0_224 efficientnet-b0 embeddinggemma-300m medgemma-4b-it
google-t5/ t5-small t5-base t5-large t5-3b t5-11b
openai-community/ gpt2 gpt2-medium gpt2-large gpt2-xl openai-gpt roberta-base-openai-detector
openai/ clip-vit-base-patch32 clip-vit-base-patch16 clip-vit-large-patch14 clip-vit-large-patch14-336 whisper-tiny
 whisper-base whisper-small whisper-medium whisper-large whisper-large-v2 whisper-large-v3 whisper-large-v3-turbo
 whisper-tiny.en whisper-base.en whisper-small.en whisper-medium.en gpt-oss-20b gpt-oss-120b shap-e
distilbert/ distilbert-base-uncased distilbert-base-cased distilbert-base-multilingual-cased distilgpt2 distilroberta-base
 distilbert-base-uncased-finetuned-sst-2-english distilbert-base-cased-distilled-squad
FacebookAI/ roberta-base roberta-large roberta-large-mnli xlm-roberta-base xlm-roberta-large xlm-mlm-en-2048
facebook/ bart-base bart-large bart-large-cnn bart-large-mnli mbart-large-50 mbart-large-50-many-to-many-mmt opt-125m
 opt-350m opt-1.3b opt-2.7b opt-6.7b opt-13b opt-30b opt-66b wav2vec2-base wav2vec2-base-960h wav2vec2-large-960h
 wav2vec2-large-xlsr-53 wav2vec2-xls-r-300m hubert-base-ls960 hubert-large-ls960-ft dino-vits16 dino-vitb16 dinov2-small
 dinov2-base dinov2-large dinov2-giant detr-resnet-50 detr-resnet-101 sam-vit-base sam-vit-large sam-vit-huge
 convnext-tiny-224 convnextv2-tiny-1k-224 deit-base-distilled-patch16-224 vit-mae-base nllb-200-distilled-600M
 nllb-200-3.3B m2m100_418M m2m100_1.2B musicgen-small musicgen-medium musicgen-large mms-1b-all mms-tts-eng
 seamless-m4t-v2-large blenderbot-400M-distill contriever esm2_t6_8M_UR50D esm2_t33_650M_UR50D esmfold_v1 galactica-6.7b
 timesformer-base-finetuned-k400 mask2former-swin-large-cityscapes-semantic
meta-llama/ Llama-2-7b Llama-2-7b-hf Llama-2-7b-chat-hf Llama-2-13b-hf Llama-2-13b-chat-hf Llama-2-70b-hf
 Llama-2-70b-chat-hf Meta-Llama-3-8B Meta-Llama-3-8B-Instruct Meta-Llama-3-70B Meta-Llama-3-70B-Instruct Llama-3.1-8B
 Llama-3.1-8B-Instruct Llama-3.1-70B Llama-3.1-70B-Instruct Llama-3.1-405B Llama-3.1-405B-Instruct Llama-3.2-1B
 Llama-3.2-1B-Instruct Llama-3.2-3B Llama-3.2-3B-Instruct Llama-3.2-11B-Vision-Instruct Llama-3.3-70B-Instruct
 Llama-4-Scout-17B-16E-Instruct Llama-Guard-3-8B CodeLlama-7b-hf CodeLlama-13b-hf
codellama/ CodeLlama-7b-hf CodeLlama-7b-Instruct-hf CodeLlama-13b-hf CodeLlama-34b-hf CodeLlama-34b-Instruct-hf
huggyllama/ llama-7b llama-13b llama-65b
mistralai/ Mistral-7B-v0.1 Mistral-7B-v0.3 Mistral-7B-Instruct-v0.1 Mistral-7B-Instruct-v0.2 Mistral-7B-Instruct-v0.3
 Mixtral-8x7B-v0.1 Mixtral-8x7B-Instruct-v0.1 Mixtral-8x22B-v0.1 Mixtral-8x22B-Instruct-v0.1 Mistral-Nemo-Base-2407
 Mistral-Nemo-Instruct-2407 Mistral-Large-Instruct-2407 Mistral-Small-24B-Instruct-2501 Codestral-22B-v0.1 Pixtral-12B-2409
 Ministral-8B-Instruct-2410 Mathstral-7B-v0.1
Qwen/ Qwen-7B Qwen-7B-Chat Qwen1.5-7B-Chat Qwen2-0.5B Qwen2-7B Qwen2-7B-Instruct Qwen2-VL-7B-Instruct Qwen2.5-0.5B
 Qwen2.5-0.5B-Instruct Qwen2.5-1.5B Qwen2.5-1.5B-Instruct Qwen2.5-3B-Instruct Qwen2.5-7B Qwen2.5-7B-Instruct
 Qwen2.5-14B-Instruct Qwen2.5-32B-Instruct Qwen2.5-72B-Instruct Qwen2.5-Coder-7B-Instruct Qwen2.5-Coder-32B-Instruct
 Qwen2.5-VL-7B-Instruct Qwen3-0.6B Qwen3-1.7B Qwen3-4B Qwen3-8B Qwen3-14B Qwen3-32B Qwen3-30B-A3B Qwen3-Embedding-0.6B QwQ-32B
deepseek-ai/ DeepSeek-R1 DeepSeek-R1-Zero DeepSeek-R1-Distill-Qwen-1.5B DeepSeek-R1-Distill-Qwen-7B
 DeepSeek-R1-Distill-Qwen-32B DeepSeek-R1-Distill-Llama-8B DeepSeek-R1-Distill-Llama-70B DeepSeek-V2 DeepSeek-V2-Lite
 DeepSeek-V3 DeepSeek-V3-0324 deepseek-coder-6.7b-instruct deepseek-coder-1.3b-base deepseek-llm-7b-base Janus-Pro-7B
microsoft/ phi-1 phi-1_5 phi-2 phi-4 Phi-3-mini-4k-instruct Phi-3-mini-128k-instruct Phi-3-medium-4k-instruct
 Phi-3.5-mini-instruct Phi-3.5-vision-instruct Phi-4-mini-instruct deberta-base deberta-v3-small deberta-v3-base
 deberta-v3-large mdeberta-v3-base deberta-large-mnli DialoGPT-small DialoGPT-medium DialoGPT-large codebert-base
 graphcodebert-base unixcoder-base layoutlm-base-uncased layoutlmv2-base-uncased layoutlmv3-base trocr-base-handwritten
 trocr-base-printed resnet-18 resnet-50 swin-tiny-patch4-window7-224 swin-base-patch4-window7-224 beit-base-patch16-224
 speecht5_tts wavlm-base wavlm-large Florence-2-base Florence-2-large table-transformer-detection MiniLM-L12-H384-uncased
 BiomedNLP-BiomedBERT-base-uncased-abstract biogpt git-base kosmos-2-patch14-224 xclip-base-patch32
sentence-transformers/ all-MiniLM-L6-v2 all-MiniLM-L12-v2 all-mpnet-base-v2 all-distilroberta-v1
 paraphrase-MiniLM-L6-v2 paraphrase-multilingual-MiniLM-L12-v2 paraphrase-multilingual-mpnet-base-v2
 multi-qa-mpnet-base-dot-v1 multi-qa-MiniLM-L6-cos-v1 distiluse-base-multilingual-cased-v2 LaBSE gtr-t5-base
cross-encoder/ ms-marco-MiniLM-L-6-v2 ms-marco-MiniLM-L-12-v2 stsb-roberta-base nli-deberta-v3-base
BAAI/ bge-small-en-v1.5 bge-base-en-v1.5 bge-large-en-v1.5 bge-m3 bge-reranker-base bge-reranker-large bge-reranker-v2-m3
intfloat/ e5-small-v2 e5-base-v2 e5-large-v2 multilingual-e5-small multilingual-e5-base multilingual-e5-large
 e5-mistral-7b-instruct
thenlper/ gte-small gte-base gte-large
nomic-ai/ nomic-embed-text-v1 nomic-embed-text-v1.5
jinaai/ jina-embeddings-v2-base-en jina-embeddings-v3
mixedbread-ai/ mxbai-embed-large-v1
answerdotai/ ModernBERT-base ModernBERT-large
albert/ albert-base-v1 albert-base-v2 albert-large-v2 albert-xxlarge-v2
xlnet/ xlnet-base-cased xlnet-large-cased
allenai/ scibert_scivocab_uncased longformer-base-4096 led-base-16384 specter specter2_base OLMo-7B OLMo-2-1124-7B
EleutherAI/ gpt-neo-125m gpt-neo-1.3B gpt-neo-2.7B gpt-j-6b gpt-neox-20b pythia-70m pythia-160m pythia-410m pythia-1b
 pythia-1.4b pythia-2.8b pythia-6.9b pythia-12b
bigscience/ bloom bloom-560m bloom-1b7 bloom-7b1 bloomz bloomz-560m bloomz-7b1 T0pp mt0-large
bigcode/ starcoder starcoderbase starcoder2-3b starcoder2-7b starcoder2-15b santacoder
tiiuae/ falcon-7b falcon-7b-instruct falcon-40b falcon-40b-instruct falcon-180B
Salesforce/ blip-image-captioning-base blip-image-captioning-large blip2-opt-2.7b blip-vqa-base codet5-base codet5p-220m
 codegen-350M-mono codegen-2B-mono
stabilityai/ stable-diffusion-2 stable-diffusion-2-1 stable-diffusion-xl-base-1.0 stable-diffusion-xl-refiner-1.0
 stable-diffusion-3-medium stable-diffusion-3.5-large stable-diffusion-3.5-medium sdxl-turbo sd-turbo sd-vae-ft-mse
 stable-video-diffusion-img2vid-xt stablelm-2-1_6b stable-code-3b
stable-diffusion-v1-5/ stable-diffusion-v1-5 stable-diffusion-inpainting
CompVis/ stable-diffusion-v1-4 ldm-text2im-large-256
black-forest-labs/ FLUX.1-dev FLUX.1-schnell FLUX.1-Kontext-dev
lllyasviel/ ControlNet-v1-1 sd-controlnet-canny sd-controlnet-openpose control_v11p_sd15_canny
HuggingFaceTB/ SmolLM-135M SmolLM-360M SmolLM2-135M SmolLM2-360M-Instruct SmolLM2-1.7B SmolLM2-1.7B-Instruct
 SmolVLM-Instruct SmolLM3-3B
HuggingFaceH4/ zephyr-7b-alpha zephyr-7b-beta
TinyLlama/ TinyLlama-1.1B-Chat-v1.0
lmsys/ vicuna-7b-v1.5 vicuna-13b-v1.5 fastchat-t5-3b-v1.0
llava-hf/ llava-1.5-7b-hf llava-v1.6-mistral-7b-hf
liuhaotian/ llava-v1.5-7b llava-v1.5-13b
01-ai/ Yi-6B Yi-34B Yi-34B-Chat Yi-1.5-9B-Chat
baichuan-inc/ Baichuan2-7B-Chat Baichuan2-13B-Chat
THUDM/ chatglm-6b chatglm2-6b chatglm3-6b glm-4-9b-chat
internlm/ internlm2-chat-7b internlm2_5-7b-chat
mosaicml/ mpt-7b mpt-7b-instruct mpt-30b
databricks/ dolly-v2-3b dolly-v2-12b dbrx-instruct
NousResearch/ Llama-2-7b-hf Hermes-2-Pro-Mistral-7B Hermes-3-Llama-3.1-8B
teknium/ OpenHermes-2.5-Mistral-7B
upstage/ SOLAR-10.7B-Instruct-v1.0
nvidia/ segformer-b0-finetuned-ade-512-512 parakeet-tdt-0.6b-v2 canary-1b Llama-3.1-Nemotron-70B-Instruct-HF NV-Embed-v2
ibm-granite/ granite-3.0-8b-instruct granite-3.1-8b-instruct
CohereForAI/ c4ai-command-r-v01 c4ai-command-r-plus aya-101 aya-23-8B
ai21labs/ Jamba-v0.1
state-spaces/ mamba-130m mamba-2.8b
RWKV/ rwkv-4-169m-pile v5-Eagle-7B-HF
openchat/ openchat_3.5 openchat-3.5-0106
berkeley-nest/ Starling-LM-7B-alpha
WizardLMTeam/ WizardCoder-Python-34B-V1.0 WizardMath-7B-V1.1
laion/ CLIP-ViT-B-32-laion2B-s34B-b79K CLIP-ViT-H-14-laion2B-s32B-b79K clap-htsat-unfused
timm/ resnet50.a1_in1k vit_base_patch16_224.augreg2_in21k_ft_in1k mobilenetv3_small_100.lamb_in1k
pyannote/ segmentation-3.0 speaker-diarization speaker-diarization-3.1
speechbrain/ spkrec-ecapa-voxceleb
suno/ bark bark-small
coqui/ XTTS-v2
hexgrad/ Kokoro-82M
Systran/ faster-whisper-small faster-whisper-large-v3
distil-whisper/ distil-large-v2 distil-large-v3
Helsinki-NLP/ opus-mt-en-de opus-mt-de-en opus-mt-en-fr opus-mt-fr-en opus-mt-en-es opus-mt-es-en opus-mt-en-zh
 opus-mt-zh-en opus-mt-en-ru opus-mt-ru-en opus-mt-mul-en
ProsusAI/ finbert
yiyanghkust/ finbert-tone
emilyalsentzer/ Bio_ClinicalBERT
dmis-lab/ biobert-v1.1 biobert-base-cased-v1.2
nlpaueb/ legal-bert-base-uncased
cardiffnlp/ twitter-roberta-base-sentiment twitter-roberta-base-sentiment-latest twitter-xlm-roberta-base-sentiment
nlptown/ bert-base-multilingual-uncased-sentiment
dslim/ bert-base-NER bert-large-NER
deepset/ roberta-base-squad2 minilm-uncased-squad2
dbmdz/ bert-large-cased-finetuned-conll03-english bert-base-german-cased bert-base-turkish-cased
camembert/ camembert-base
almanach/ camembert-base camembertv2-base
neuralmind/ bert-base-portuguese-cased
hfl/ chinese-roberta-wwm-ext chinese-macbert-base
cl-tohoku/ bert-base-japanese-v3
ai4bharat/ indic-bert
unitary/ toxic-bert
j-hartmann/ emotion-english-distilroberta-base
MoritzLaurer/ DeBERTa-v3-base-mnli-fever-anli
valhalla/ distilbart-mnli-12-3
sshleifer/ distilbart-cnn-12-6 tiny-gpt2
philschmid/ bart-large-cnn-samsum
Falconsai/ nsfw_image_detection
nateraw/ vit-age-classifier
hustvl/ yolos-tiny yolos-small
PekingU/ rtdetr_r50vd
Intel/ dpt-large dpt-hybrid-midas neural-chat-7b-v3-1
LiheYoung/ depth-anything-small-hf
depth-anything/ Depth-Anything-V2-Small-hf Depth-Anything-V2-Large
naver-clova-ix/ donut-base donut-base-finetuned-docvqa
impira/ layoutlm-document-qa
dandelin/ vilt-b32-finetuned-vqa
CIDAS/ clipseg-rd64-refined
briaai/ RMBG-1.4 RMBG-2.0
ByteDance/ SDXL-Lightning AnimateDiff-Lightning
Lightricks/ LTX-Video
Wan-AI/ Wan2.1-T2V-14B
tencent/ HunyuanVideo
moonshotai/ Kimi-K2-Instruct
amazon/ chronos-t5-small chronos-t5-base
instructlab/ granite-7b-lab
prajjwal1/ bert-tiny
hf-internal-testing/ tiny-random-gpt2 tiny-random-LlamaForCausalLM
"""


def _read(listed: str) -> tuple[str, ...]:
    names = []
    namespace = ""
    for word in listed.split():
        if word.endswith("/"):
            namespace = word
        else:
            names.append(namespace + word)
    return tuple(dict.fromkeys(names))


KNOWN_MODELS = _read(_LISTED)
"""Ids of the hub, as it writes them."""
