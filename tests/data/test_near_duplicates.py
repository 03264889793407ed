"""MinHash finds what is almost the same, and only that."""

from yoyak.data.near_duplicates import THRESHOLD, jaccard, new_index, signature, spoken_letters

TEXT = "#Person1#: 내일 저녁에 시간 있으면 같이 공포 영화를 보러 가자.\n#Person2#: 좋아, 여섯 시에 극장 앞에서 만나자."


def test_speakers_spaces_and_punctuation_do_not_count() -> None:
    other = (
        TEXT.replace("#Person1#", "민수")
        .replace("#Person2#", "#Person1#")
        .replace("저녁에 시간", "저녁에시간")
        .replace(".", "!!")
    )
    assert spoken_letters(TEXT) == spoken_letters(other)


def test_the_index_gives_a_text_with_another_word_and_not_another_text() -> None:
    near, far = (
        spoken_letters(TEXT.replace("여섯", "일곱")),
        spoken_letters("#Person1#: 세탁기가 고장 나서 물이 샌다. 기사를 부르자."),
    )
    letters = spoken_letters(TEXT)
    index = new_index()
    for number, text in enumerate((near, far)):
        index.insert(number, signature(text))
    assert index.query(signature(letters)) == [0]
    assert jaccard(letters, near) > THRESHOLD > jaccard(letters, far)
    assert jaccard(letters, letters) == 1
