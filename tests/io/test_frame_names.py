import pytest

from integral_pose.io.frame_names import FrameName, parse_frame_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("S1_Directions_1.54138969_000001.jpg", FrameName("S1", "Directions", 1, "54138969", 1)),
        ("S1_Directions.54138969_000001.jpg", FrameName("S1", "Directions", None, "54138969", 1)),
        ("S11_TakingPhoto_2.60457274_001616.jpg", FrameName("S11", "Photo", 2, "60457274", 1616)),
        ("S1_WalkingDog.55011271_000026.jpg", FrameName("S1", "WalkDog", None, "55011271", 26)),
        ("S9_WalkingTogether_1.58860488_000006.png", FrameName("S9", "WalkTogether", 1, "58860488", 6)),
        ("S9/Sitting/S9_SittingDown 1.58860488_000006.jpg", FrameName("S9", "SittingDown", 1, "58860488", 6)),
        ("S9\\S9_Sitting.58860488_000006.jpg", FrameName("S9", "Sitting", None, "58860488", 6)),
        ("S5_Walking_1.58860488_000006.JPG", FrameName("S5", "Walking", 1, "58860488", 6)),
    ],
)
def test_parts_of_a_name(name, expected):
    assert parse_frame_name(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "",
        "000001.jpg",
        "s_01_act_02_subact_01_ca_01_000001.jpg",
        "S1_Directions_1.54138969.jpg",
        "S1_Directions_1.54138969_000001",
        "S1_Directions_1.54138969_000001.jpg\n",
        "S1_Directions_1.54138969_000001.jpg.bak",
        "S1_Directions_1.54138969_000001.jpg/other.jpg",
    ],
)
def test_names_of_another_form_say_nothing(name):
    assert parse_frame_name(name) is None


def test_people_of_another_test_set():
    parsed = parse_frame_name("TS1_StandWalk.0_000001.jpg")
    assert (parsed.subject, parsed.action, parsed.sub_action, parsed.frame) == ("TS1", "StandWalk", None, 1)
