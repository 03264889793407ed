"""What language models are asked, in Korean."""

from yoyak.system.errors import YoyakError

_KEEP_TAGS = (
    "#Person1#, #PhoneNumber#, #@이름#, &name1&처럼 기호로 둘러싸인 표시는 한 글자도 바꾸지 말고, 원문과 같은 횟수로 씁니다."
)
_ONLY_TEXT = "결과만 씁니다. 설명, 제목, 따옴표는 붙이지 않습니다."

PARAPHRASE_DIALOGUE = f"""아래 대화를 뜻은 그대로 두고 표현만 바꾸어 다시 써 주세요.

지킬 점
1. 줄 수와 줄 순서를 그대로 둡니다. 각 줄은 원문과 같은 화자 표시와 콜론(:)으로 시작합니다. 예: "#Person1#: "
2. {_KEEP_TAGS}
3. 이름, 숫자, 날짜, 금액, 장소는 바꾸지 않습니다. 없던 내용을 더하거나 있던 내용을 빼지 않습니다.
4. 존댓말은 존댓말로, 반말은 반말로 씁니다. 실제로 주고받는 말처럼 자연스럽게 씁니다.
5. {_ONLY_TEXT}

[대화]
{{text}}"""

PARAPHRASE_SUMMARY = f"""아래는 어떤 대화의 요약문입니다. 뜻은 그대로 두고 표현만 바꾸어 다시 써 주세요.

지킬 점
1. 한 문단으로, 원문과 비슷한 길이로 씁니다. 문장을 맺는 말투(~한다, ~합니다)도 원문을 따릅니다.
2. {_KEEP_TAGS}
3. 이름, 숫자, 날짜, 금액, 장소는 바꾸지 않습니다. 없던 내용을 더하거나 있던 내용을 빼지 않습니다.
4. {_ONLY_TEXT}

[요약문]
{{text}}"""

INTO_PIVOT = f"""아래 {{kind}} {{language}}로 옮겨 주세요.

지킬 점
1. 줄 수와 줄 순서를 그대로 둡니다.
2. {_KEEP_TAGS} 줄 앞의 화자 표시와 콜론(:)도 그대로 둡니다.
3. {_ONLY_TEXT}

[원문]
{{text}}"""

INTO_KOREAN = f"""아래 {{language}} {{kind}} 자연스러운 한국어로 옮겨 주세요.

지킬 점
1. 줄 수와 줄 순서를 그대로 둡니다.
2. {_KEEP_TAGS} 줄 앞의 화자 표시와 콜론(:)도 그대로 둡니다.
3. {{style}}
4. {_ONLY_TEXT}

[원문]
{{text}}"""

KINDS = {"dialogue": "대화를", "summary": "요약문을"}
STYLES = {
    "dialogue": "실제로 주고받는 말처럼 쓰고, 한 사람의 말투(존댓말이나 반말)가 도중에 바뀌지 않게 합니다.",
    "summary": "요약문에 맞는 문어체로 쓰고, 문장을 맺는 말투를 하나로 맞춥니다.",
}

# By the first letters of a code: en, eng_Latn and en_XX are all English.
_LANGUAGES = {
    "en": "영어",
    "ja": "일본어",
    "jp": "일본어",
    "zh": "중국어",
    "zho": "중국어",
    "de": "독일어",
    "fr": "프랑스어",
    "es": "스페인어",
    "sp": "스페인어",
    "ru": "러시아어",
    "vi": "베트남어",
    "id": "인도네시아어",
    "in": "인도네시아어",
    "th": "태국어",
}


def language_name(code: str) -> str:
    """The Korean name of a pivot language.

    Raises:
        YoyakError: for a language without a name here.
    """
    name = _LANGUAGES.get(code[:3].lower()) or _LANGUAGES.get(code[:2].lower())
    if name is None:
        raise YoyakError(
            f"augment.back_translation.pivots: {code!r}: with `by: writer` these are possible: {', '.join(sorted(_LANGUAGES))}"
        )
    return name
