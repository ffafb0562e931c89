//! Target names of real rigs, dialect by dialect, and the mapping's expected results.
//!
//! The lists are facts of the formats: what exports of each tool are documented or seen to hold. Where they come from
//! stands in the `about` of each preset.

/// Apple's 52, in the order of Apple's and Unreal's lists.
#[rustfmt::skip]
pub const ARKIT: &[&str] = &[
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight",
    "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft",
    "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
];

/// Perfect Sync on a VRM 0.x avatar: Unity's spelling, then the clips of UniVRM and VRoid.
#[rustfmt::skip]
pub const PERFECT_SYNC: &[&str] = &[
    "BrowDownLeft", "BrowDownRight", "BrowInnerUp", "BrowOuterUpLeft", "BrowOuterUpRight", "CheekPuff",
    "CheekSquintLeft", "CheekSquintRight", "EyeBlinkLeft", "EyeBlinkRight", "EyeLookDownLeft", "EyeLookDownRight",
    "EyeLookInLeft", "EyeLookInRight", "EyeLookOutLeft", "EyeLookOutRight", "EyeLookUpLeft", "EyeLookUpRight",
    "EyeSquintLeft", "EyeSquintRight", "EyeWideLeft", "EyeWideRight", "JawForward", "JawLeft", "JawOpen",
    "JawRight", "MouthClose", "MouthDimpleLeft", "MouthDimpleRight", "MouthFrownLeft", "MouthFrownRight",
    "MouthFunnel", "MouthLeft", "MouthLowerDownLeft", "MouthLowerDownRight", "MouthPressLeft", "MouthPressRight",
    "MouthPucker", "MouthRight", "MouthRollLower", "MouthRollUpper", "MouthShrugLower", "MouthShrugUpper",
    "MouthSmileLeft", "MouthSmileRight", "MouthStretchLeft", "MouthStretchRight", "MouthUpperUpLeft",
    "MouthUpperUpRight", "NoseSneerLeft", "NoseSneerRight", "TongueOut", "Neutral", "A", "I", "U", "E", "O",
    "Blink", "Joy", "Angry", "Sorrow", "Fun", "LookUp", "LookDown", "LookLeft", "LookRight", "Blink_L", "Blink_R",
    "Surprised",
];

/// The preset expressions of VRM 1.0, in the order of the specification.
#[rustfmt::skip]
pub const VRM1: &[&str] = &[
    "neutral", "happy", "angry", "sad", "relaxed", "surprised", "aa", "ih", "ou", "ee", "oh", "blink", "blinkLeft",
    "blinkRight", "lookUp", "lookDown", "lookLeft", "lookRight",
];

/// The clips of UniVRM for VRM 0.x in the order that it makes them, and VRoid's `Surprised`.
#[rustfmt::skip]
pub const VRM0: &[&str] = &[
    "Neutral", "A", "I", "U", "E", "O", "Blink", "Joy", "Angry", "Sorrow", "Fun", "LookUp", "LookDown", "LookLeft",
    "LookRight", "Blink_L", "Blink_R", "Surprised",
];

/// Ready Player Me with all of its morph target groups.
#[rustfmt::skip]
pub const READY_PLAYER_ME: &[&str] = &[
    "mouthOpen", "mouthSmile", "eyesClosed", "eyesLookUp", "eyesLookDown", "eyeBlinkLeft", "eyeLookDownLeft",
    "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft", "eyeWideLeft", "eyeBlinkRight",
    "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight", "eyeSquintRight", "eyeWideRight",
    "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft",
    "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight", "mouthDimpleLeft",
    "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft",
    "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft", "browDownRight", "browInnerUp",
    "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft",
    "noseSneerRight", "tongueOut", "viseme_sil", "viseme_PP", "viseme_FF", "viseme_TH", "viseme_DD", "viseme_kk",
    "viseme_CH", "viseme_SS", "viseme_nn", "viseme_RR", "viseme_aa", "viseme_E", "viseme_I", "viseme_O", "viseme_U",
];

/// Ready Player Me as it is exported when no group is asked for.
#[rustfmt::skip]
pub const READY_PLAYER_ME_BARE: &[&str] = &[
    "mouthOpen", "mouthSmile",
];

/// A lip-sync avatar: blinks and the visemes, in the order of Oculus Lipsync.
#[rustfmt::skip]
pub const OCULUS_VISEMES: &[&str] = &[
    "eyeBlinkLeft", "eyeBlinkRight", "viseme_sil", "viseme_PP", "viseme_FF", "viseme_TH", "viseme_DD", "viseme_kk",
    "viseme_CH", "viseme_SS", "viseme_nn", "viseme_RR", "viseme_aa", "viseme_E", "viseme_I", "viseme_O", "viseme_U",
];

/// The same as VRChat avatars name it.
#[rustfmt::skip]
pub const VRCHAT_VISEMES: &[&str] = &[
    "vrc.blink_left", "vrc.blink_right", "vrc.lowerlid_left", "vrc.lowerlid_right", "vrc.v_aa", "vrc.v_ch",
    "vrc.v_dd", "vrc.v_e", "vrc.v_ff", "vrc.v_ih", "vrc.v_kk", "vrc.v_nn", "vrc.v_oh", "vrc.v_ou", "vrc.v_pp",
    "vrc.v_rr", "vrc.v_sil", "vrc.v_ss", "vrc.v_th",
];

/// The same as Avatar SDK names it.
#[rustfmt::skip]
pub const BARE_VISEMES: &[&str] = &[
    "eyeBlinkLeft", "eyeBlinkRight", "sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "ih",
    "oh", "ou",
];

/// VRoid Studio 1.x, in the order of its export.
#[rustfmt::skip]
pub const VROID: &[&str] = &[
    "Fcl_ALL_Neutral", "Fcl_ALL_Angry", "Fcl_ALL_Fun", "Fcl_ALL_Joy", "Fcl_ALL_Sorrow", "Fcl_ALL_Surprised",
    "Fcl_BRW_Angry", "Fcl_BRW_Fun", "Fcl_BRW_Joy", "Fcl_BRW_Sorrow", "Fcl_BRW_Surprised", "Fcl_EYE_Natural",
    "Fcl_EYE_Angry", "Fcl_EYE_Close", "Fcl_EYE_Close_R", "Fcl_EYE_Close_L", "Fcl_EYE_Fun", "Fcl_EYE_Joy",
    "Fcl_EYE_Joy_R", "Fcl_EYE_Joy_L", "Fcl_EYE_Sorrow", "Fcl_EYE_Surprised", "Fcl_EYE_Spread", "Fcl_EYE_Iris_Hide",
    "Fcl_EYE_Highlight_Hide", "Fcl_MTH_Close", "Fcl_MTH_Up", "Fcl_MTH_Down", "Fcl_MTH_Angry", "Fcl_MTH_Small",
    "Fcl_MTH_Large", "Fcl_MTH_Neutral", "Fcl_MTH_Fun", "Fcl_MTH_Joy", "Fcl_MTH_Sorrow", "Fcl_MTH_Surprised",
    "Fcl_MTH_SkinFung", "Fcl_MTH_SkinFung_R", "Fcl_MTH_SkinFung_L", "Fcl_MTH_A", "Fcl_MTH_I", "Fcl_MTH_U",
    "Fcl_MTH_E", "Fcl_MTH_O", "Fcl_HA_Hide", "Fcl_HA_Fung1", "Fcl_HA_Fung1_Low", "Fcl_HA_Fung1_Up", "Fcl_HA_Fung2",
    "Fcl_HA_Fung2_Low", "Fcl_HA_Fung2_Up", "Fcl_HA_Fung3", "Fcl_HA_Fung3_Up", "Fcl_HA_Fung3_Low", "Fcl_HA_Short",
    "Fcl_HA_Short_Up", "Fcl_HA_Short_Low",
];

/// Character Creator 4, extended profile, with its visemes.
#[rustfmt::skip]
pub const CC_STANDARD: &[&str] = &[
    "Brow_Raise_Inner_L", "Brow_Raise_Inner_R", "Brow_Raise_Outer_L", "Brow_Raise_Outer_R", "Brow_Drop_L",
    "Brow_Drop_R", "Brow_Compress_L", "Brow_Compress_R", "Eye_Blink_L", "Eye_Blink_R", "Eye_Squint_L",
    "Eye_Squint_R", "Eye_Wide_L", "Eye_Wide_R", "Eye_L_Look_L", "Eye_R_Look_L", "Eye_L_Look_R", "Eye_R_Look_R",
    "Eye_L_Look_Up", "Eye_R_Look_Up", "Eye_L_Look_Down", "Eye_R_Look_Down", "Eyelash_Upper_Up_L",
    "Eyelash_Upper_Down_L", "Eyelash_Upper_Up_R", "Eyelash_Upper_Down_R", "Eyelash_Lower_Up_L",
    "Eyelash_Lower_Down_L", "Eyelash_Lower_Up_R", "Eyelash_Lower_Down_R", "Ear_Up_L", "Ear_Up_R", "Ear_Down_L",
    "Ear_Down_R", "Ear_Out_L", "Ear_Out_R", "Nose_Sneer_L", "Nose_Sneer_R", "Nose_Nostril_Raise_L",
    "Nose_Nostril_Raise_R", "Nose_Nostril_Dilate_L", "Nose_Nostril_Dilate_R", "Nose_Crease_L", "Nose_Crease_R",
    "Nose_Nostril_Down_L", "Nose_Nostril_Down_R", "Nose_Nostril_In_L", "Nose_Nostril_In_R", "Nose_Tip_L",
    "Nose_Tip_R", "Nose_Tip_Up", "Nose_Tip_Down", "Cheek_Raise_L", "Cheek_Raise_R", "Cheek_Suck_L", "Cheek_Suck_R",
    "Cheek_Puff_L", "Cheek_Puff_R", "Mouth_Smile_L", "Mouth_Smile_R", "Mouth_Smile_Sharp_L", "Mouth_Smile_Sharp_R",
    "Mouth_Frown_L", "Mouth_Frown_R", "Mouth_Stretch_L", "Mouth_Stretch_R", "Mouth_Dimple_L", "Mouth_Dimple_R",
    "Mouth_Press_L", "Mouth_Press_R", "Mouth_Tighten_L", "Mouth_Tighten_R", "Mouth_Blow_L", "Mouth_Blow_R",
    "Mouth_Pucker_Up_L", "Mouth_Pucker_Up_R", "Mouth_Pucker_Down_L", "Mouth_Pucker_Down_R", "Mouth_Funnel_Up_L",
    "Mouth_Funnel_Up_R", "Mouth_Funnel_Down_L", "Mouth_Funnel_Down_R", "Mouth_Roll_In_Upper_L",
    "Mouth_Roll_In_Upper_R", "Mouth_Roll_In_Lower_L", "Mouth_Roll_In_Lower_R", "Mouth_Roll_Out_Upper_L",
    "Mouth_Roll_Out_Upper_R", "Mouth_Roll_Out_Lower_L", "Mouth_Roll_Out_Lower_R", "Mouth_Push_Upper_L",
    "Mouth_Push_Upper_R", "Mouth_Push_Lower_L", "Mouth_Push_Lower_R", "Mouth_Pull_Upper_L", "Mouth_Pull_Upper_R",
    "Mouth_Pull_Lower_L", "Mouth_Pull_Lower_R", "Mouth_Up", "Mouth_Down", "Mouth_L", "Mouth_R", "Mouth_Upper_L",
    "Mouth_Upper_R", "Mouth_Lower_L", "Mouth_Lower_R", "Mouth_Shrug_Upper", "Mouth_Shrug_Lower", "Mouth_Drop_Upper",
    "Mouth_Drop_Lower", "Mouth_Up_Upper_L", "Mouth_Up_Upper_R", "Mouth_Down_Lower_L", "Mouth_Down_Lower_R",
    "Mouth_Chin_Up", "Mouth_Close", "Mouth_Contract", "Tongue_Bulge_L", "Tongue_Bulge_R", "Jaw_Open", "Jaw_Forward",
    "Jaw_Backward", "Jaw_L", "Jaw_R", "Jaw_Up", "Jaw_Down", "Neck_Swallow_Up", "Neck_Swallow_Down",
    "Neck_Tighten_L", "Neck_Tighten_R", "Head_Turn_Up", "Head_Turn_Down", "Head_Turn_L", "Head_Turn_R",
    "Head_Tilt_L", "Head_Tilt_R", "Head_L", "Head_R", "Head_Forward", "Head_Backward", "Tongue_Out", "Tongue_In",
    "Tongue_Up", "Tongue_Down", "Tongue_Mid_Up", "Tongue_Tip_Up", "Tongue_Tip_Down", "Tongue_Narrow", "Tongue_Wide",
    "Tongue_Roll", "Tongue_L", "Tongue_R", "Tongue_Tip_L", "Tongue_Tip_R", "Tongue_Twist_L", "Tongue_Twist_R",
    "Tongue_Extend", "Tongue_Enlarge", "V_Open", "V_Explosive", "V_Dental_Lip", "V_Tight_O", "V_Tight", "V_Wide",
    "V_Affricate", "V_Lip_Open", "V_Tongue_up", "V_Tongue_Raise", "V_Tongue_Out", "V_Tongue_Narrow",
    "V_Tongue_Lower", "V_Tongue_Curl_U", "V_Tongue_Curl_D",
];

/// Character Creator 4, standard profile.
#[rustfmt::skip]
pub const CC4_STANDARD: &[&str] = &[
    "Brow_Raise_Inner_L", "Brow_Raise_Inner_R", "Brow_Raise_Outer_L", "Brow_Raise_Outer_R", "Brow_Drop_L",
    "Brow_Drop_R", "Eye_Blink_L", "Eye_Blink_R", "Eye_Squint_L", "Eye_Squint_R", "Eye_Wide_L", "Eye_Wide_R",
    "Eye_L_Look_L", "Eye_R_Look_L", "Eye_L_Look_R", "Eye_R_Look_R", "Eye_L_Look_Up", "Eye_R_Look_Up",
    "Eye_L_Look_Down", "Eye_R_Look_Down", "Nose_Sneer_L", "Nose_Sneer_R", "Cheek_Raise_L", "Cheek_Raise_R",
    "Cheek_Puff_L", "Cheek_Puff_R", "Mouth_Smile_L", "Mouth_Smile_R", "Mouth_Frown_L", "Mouth_Frown_R",
    "Mouth_Stretch_L", "Mouth_Stretch_R", "Mouth_Dimple_L", "Mouth_Dimple_R", "Mouth_Press_L", "Mouth_Press_R",
    "Mouth_Pucker", "Mouth_Funnel", "Mouth_Roll_In_Upper", "Mouth_Roll_In_Lower", "Mouth_L", "Mouth_R",
    "Mouth_Shrug_Upper", "Mouth_Shrug_Lower", "Mouth_Up_Upper_L", "Mouth_Up_Upper_R", "Mouth_Down_Lower_L",
    "Mouth_Down_Lower_R", "Mouth_Close", "Tongue_Out", "Tongue_Up", "Tongue_Down", "Tongue_Tip_Up",
    "Tongue_Tip_Down", "Tongue_Narrow", "Tongue_Wide", "Tongue_Roll", "Tongue_L", "Tongue_R", "Tongue_Bulge_L",
    "Tongue_Bulge_R", "Jaw_Open", "Jaw_Forward", "Jaw_L", "Jaw_R", "Head_Turn_Up", "Head_Turn_Down", "Head_Turn_L",
    "Head_Turn_R", "Head_Tilt_L", "Head_Tilt_R", "Head_L", "Head_R", "Head_Forward", "Head_Backward",
];

/// Character Creator 3, standard profile, with its visemes.
#[rustfmt::skip]
pub const CC3_STANDARD: &[&str] = &[
    "Open", "Explosive", "Dental_Lip", "Tight-O", "Tight", "Wide", "Affricate", "Lip_Open", "Tongue_up",
    "Tongue_Raise", "Tongue_Out", "Tongue_Narrow", "Tongue_Lower", "Tongue_Curl-U", "Tongue_Curl-D",
    "Brow_Raise_Inner_L", "Brow_Raise_Inner_R", "Brow_Raise_Outer_L", "Brow_Raise_Outer_R", "Brow_Drop_L",
    "Brow_Drop_R", "Brow_Raise_L", "Brow_Raise_R", "Eyes_Blink", "Eye_Blink_L", "Eye_Blink_R", "Eye_Wide_L",
    "Eye_Wide_R", "Eye_Squint_L", "Eye_Squint_R", "Nose_Scrunch", "Nose_Flanks_Raise", "Nose_Flank_Raise_L",
    "Nose_Flank_Raise_R", "Nose_Nostrils_Flare", "Cheek_Raise_L", "Cheek_Raise_R", "Cheeks_Suck", "Cheek_Blow_L",
    "Cheek_Blow_R", "Mouth_Smile", "Mouth_Smile_L", "Mouth_Smile_R", "Mouth_Frown", "Mouth_Frown_L",
    "Mouth_Frown_R", "Mouth_Blow", "Mouth_Pucker", "Mouth_Pucker_Open", "Mouth_Widen", "Mouth_Widen_Sides",
    "Mouth_Dimple_L", "Mouth_Dimple_R", "Mouth_Plosive", "Mouth_Lips_Tight", "Mouth_Lips_Tuck", "Mouth_Lips_Open",
    "Mouth_Lips_Part", "Mouth_Bottom_Lip_Down", "Mouth_Top_Lip_Up", "Mouth_Top_Lip_Under", "Mouth_Bottom_Lip_Under",
    "Mouth_Snarl_Upper_L", "Mouth_Snarl_Upper_R", "Mouth_Snarl_Lower_L", "Mouth_Snarl_Lower_R",
    "Mouth_Bottom_Lip_Bite", "Mouth_Down", "Mouth_Up", "Mouth_L", "Mouth_R", "Mouth_Lips_Jaw_Adjust",
    "Mouth_Bottom_Lip_Trans", "Mouth_Skewer", "Mouth_Open",
];

/// Character Creator 3 and 4, ExPlus: visemes, standard profile, ARKit set and tongue on one mesh.
#[rustfmt::skip]
pub const CC_ARKIT: &[&str] = &[
    "V_Open", "V_Explosive", "V_Dental_Lip", "V_Tight_O", "V_Tight", "V_Wide", "V_Affricate", "V_Lip_Open",
    "V_Tongue_up", "V_Tongue_Raise", "V_Tongue_Out", "V_Tongue_Narrow", "V_Tongue_Lower", "V_Tongue_Curl_U",
    "V_Tongue_Curl_D", "Brow_Raise_Inner_L", "Brow_Raise_Inner_R", "Brow_Raise_Outer_L", "Brow_Raise_Outer_R",
    "Brow_Drop_L", "Brow_Drop_R", "Brow_Raise_L", "Brow_Raise_R", "Eyes_Blink", "Eye_Blink_L", "Eye_Blink_R",
    "Eye_Wide_L", "Eye_Wide_R", "Eye_Squint_L", "Eye_Squint_R", "Nose_Scrunch", "Nose_Flanks_Raise",
    "Nose_Flank_Raise_L", "Nose_Flank_Raise_R", "Nose_Nostrils_Flare", "Cheek_Raise_L", "Cheek_Raise_R",
    "Cheeks_Suck", "Cheek_Blow_L", "Cheek_Blow_R", "Mouth_Smile", "Mouth_Smile_L", "Mouth_Smile_R", "Mouth_Frown",
    "Mouth_Frown_L", "Mouth_Frown_R", "Mouth_Blow", "Mouth_Pucker", "Mouth_Pucker_Open", "Mouth_Widen",
    "Mouth_Widen_Sides", "Mouth_Dimple_L", "Mouth_Dimple_R", "Mouth_Plosive", "Mouth_Lips_Tight", "Mouth_Lips_Tuck",
    "Mouth_Lips_Open", "Mouth_Lips_Part", "Mouth_Bottom_Lip_Down", "Mouth_Top_Lip_Up", "Mouth_Top_Lip_Under",
    "Mouth_Bottom_Lip_Under", "Mouth_Snarl_Upper_L", "Mouth_Snarl_Upper_R", "Mouth_Snarl_Lower_L",
    "Mouth_Snarl_Lower_R", "Mouth_Bottom_Lip_Bite", "Mouth_Down", "Mouth_Up", "Mouth_L", "Mouth_R",
    "Mouth_Lips_Jaw_Adjust", "Mouth_Bottom_Lip_Trans", "Mouth_Skewer", "Mouth_Open", "A01_Brow_Inner_Up",
    "A02_Brow_Down_Left", "A03_Brow_Down_Right", "A04_Brow_Outer_Up_Left", "A05_Brow_Outer_Up_Right",
    "A06_Eye_Look_Up_Left", "A07_Eye_Look_Up_Right", "A08_Eye_Look_Down_Left", "A09_Eye_Look_Down_Right",
    "A10_Eye_Look_Out_Left", "A11_Eye_Look_In_Left", "A12_Eye_Look_In_Right", "A13_Eye_Look_Out_Right",
    "A14_Eye_Blink_Left", "A15_Eye_Blink_Right", "A16_Eye_Squint_Left", "A17_Eye_Squint_Right", "A18_Eye_Wide_Left",
    "A19_Eye_Wide_Right", "A20_Cheek_Puff", "A21_Cheek_Squint_Left", "A22_Cheek_Squint_Right",
    "A23_Nose_Sneer_Left", "A24_Nose_Sneer_Right", "A25_Jaw_Open", "A26_Jaw_Forward", "A27_Jaw_Left",
    "A28_Jaw_Right", "A29_Mouth_Funnel", "A30_Mouth_Pucker", "A31_Mouth_Left", "A32_Mouth_Right",
    "A33_Mouth_Roll_Upper", "A34_Mouth_Roll_Lower", "A35_Mouth_Shrug_Upper", "A36_Mouth_Shrug_Lower",
    "A37_Mouth_Close", "A38_Mouth_Smile_Left", "A39_Mouth_Smile_Right", "A40_Mouth_Frown_Left",
    "A41_Mouth_Frown_Right", "A42_Mouth_Dimple_Left", "A43_Mouth_Dimple_Right", "A44_Mouth_Upper_Up_Left",
    "A45_Mouth_Upper_Up_Right", "A46_Mouth_Lower_Down_Left", "A47_Mouth_Lower_Down_Right", "A48_Mouth_Press_Left",
    "A49_Mouth_Press_Right", "A50_Mouth_Stretch_Left", "A51_Mouth_Stretch_Right", "A52_Tongue_Out", "T01_Tongue_Up",
    "T02_Tongue_Down", "T03_Tongue_Left", "T04_Tongue_Right", "T05_Tongue_Roll", "T06_Tongue_Tip_Up",
    "T07_Tongue_Tip_Down", "T08_Tongue_Width", "T09_Tongue_Thickness", "T10_Tongue_Bulge_Left",
    "T11_Tongue_Bulge_Right",
];

/// A facial avatar of Microsoft Rocketbox: visemes, ARKit, action units, HeadBox's own, Vive.
#[rustfmt::skip]
pub const ROCKETBOX: &[&str] = &[
    "AA_VI_00_Sil", "AA_VI_01_PP", "AA_VI_02_FF", "AA_VI_03_TH", "AA_VI_04_DD", "AA_VI_05_KK", "AA_VI_06_CH",
    "AA_VI_07_SS", "AA_VI_08_nn", "AA_VI_09_RR", "AA_VI_10_aa", "AA_VI_11_E", "AA_VI_12_I", "AA_VI_13_O",
    "AA_VI_14_U", "AK_01_BrowDownLeft", "AK_02_BrowDownRight", "AK_03_BrowInnerUp", "AK_04_BrowOuterUpLeft",
    "AK_05_BrowOuterUpRight", "AK_06_CheekPuff", "AK_07_CheekSquintLeft", "AK_08_CheekSquintRight",
    "AK_09_EyeBlinkLeft", "AK_10_EyeBlinkRight", "AK_11_EyeLookDownLeft", "AK_12_EyeLookDownRight",
    "AK_13_EyeLookInLeft", "AK_14_EyeLookInRight", "AK_15_EyeLookOutLeft", "AK_16_EyeLookOutRight",
    "AK_17_EyeLookUpLeft", "AK_18_EyeLookUpRight", "AK_19_EyeSquintLeft", "AK_20_EyeSquintRight",
    "AK_21_EyeWideLeft", "AK_22_EyeWideRight", "AK_23_JawForward", "AK_24_JawLeft", "AK_25_JawOpen",
    "AK_26_JawRight", "AK_27_MouthClose", "AK_28_MouthDimpleLeft", "AK_29_MouthDimpleRight", "AK_30_MouthFrownLeft",
    "AK_31_MouthFrownRight", "AK_32_MouthFunnel", "AK_33_MouthLeft", "AK_34_MouthLowerDownLeft",
    "AK_35_MouthLowerDownRight", "AK_36_MouthPressLeft", "AK_37_MouthPressRight", "AK_38_MouthPucker",
    "AK_39_MouthRight", "AK_40_MouthRollLower", "AK_41_MouthRollUpper", "AK_42_MouthShrugLower",
    "AK_43_MouthShrugUpper", "AK_44_MouthSmileLeft", "AK_45_MouthSmileRight", "AK_46_MouthStretchLeft",
    "AK_47_MouthStretchRight", "AK_48_MouthUpperUpLeft", "AK_49_MouthUpperUpRight", "AK_50_NoseSneerLeft",
    "AK_51_NoseSneerRight", "AK_52_TongueOut", "AU_01_InnerBrowRaiser", "AU_02_L_OuterBrowRaiser",
    "AU_02_OuterBrowRaiser", "AU_02_R_OuterBrowRaiser", "AU_04_BrowLowerer", "AU_05_L_UpperLidRaiser",
    "AU_05_R_UpperLidRaiser", "AU_05_UpperLidRaiser", "AU_06_CheekRaiser", "AU_06_L_CheekRaiser",
    "AU_06_R_CheekRaiser", "AU_07_LidTightener", "AU_09_NoseWrinkler", "AU_10_UpperLipRaiser",
    "AU_11_NasolabialDeepener", "AU_12_L_LipCornerPuller", "AU_12_LipCornerPuller", "AU_12_R_LipCornerPuller",
    "AU_13_CheekPuffer", "AU_13_L_CheekPuffer", "AU_13_R_CheekPuffer", "AU_14_Dimpler", "AU_15_LipCornerDepressor",
    "AU_16_LowerLipDepressor", "AU_17_ChinRaiser", "AU_18_LipPuckerer", "AU_20_LipStretcher", "AU_22_LipFunneler",
    "AU_23_LipTightener", "AU_24_LipPressor", "AU_25_LipsPart", "AU_26_JawDrop", "AU_27_MouthStretch",
    "AU_28_LipSuck", "AU_41_LidDroop", "AU_42_L_Slit", "AU_42_R_Slit", "AU_42_Slit", "AU_43_L_EyeClosed",
    "AU_43_R_EyeClosed", "AU_44_L_Squint", "AU_44_R_Squint", "AU_44_Squint", "AU_45_Blink", "AU_61_EyesTurnLeft",
    "AU_62_EyesTurnRight", "AU_63_EyesUp", "AU_64_EyesDown", "HB_01_L_Jaw", "HB_01_R_Jaw", "HB_02_JawIn",
    "HB_03_JawOut", "HB_04_L_MouthBite", "HB_04_R_MouthBite", "HB_05_MouthDeflated", "HB_06_MouthInflated",
    "HB_07_MouthSmile", "HB_08_TongueOut", "HB_09_TongueIn", "HB_10_L_Tongue", "HB_10_R_Tongue", "HB_11_TongueDown",
    "HB_12_TongueUp", "HB_13_NosetrilDeflated", "HB_14_NosetrilInflated", "SR_01_Cheek_Puff_Left",
    "SR_02_Cheek_Puff_Right", "SR_03_Cheek_Suck", "SR_04_Eye_Frown", "SR_05_Eye_Left_Blink", "SR_06_Eye_Left_Down",
    "SR_07_Eye_Left_Left", "SR_08_Eye_Left_Right", "SR_09_Eye_Left_squeeze", "SR_10_Eye_Left_Up",
    "SR_11_Eye_Left_Wide", "SR_12_Eye_Right_Blink", "SR_13_Eye_Right_Down", "SR_14_Eye_Right_Left",
    "SR_15_Eye_Right_Right", "SR_16_Eye_Right_squeeze", "SR_17_Eye_Right_Up", "SR_18_Eye_Right_Wide",
    "SR_19_Jaw_Forward", "SR_20_Jaw_Left", "SR_21_Jaw_Open", "SR_22_Jaw_Right", "SR_23_Mouth_Ape_Shape",
    "SR_24_Mouth_Lower_DownLeft", "SR_25_Mouth_Lower_DownRight", "SR_26_Mouth_Lower_Inside",
    "SR_27_Mouth_Lower_Left", "SR_28_Mouth_Lower_Overlay", "SR_29_Mouth_Lower_Overturn", "SR_30_Mouth_Lower_Right",
    "SR_31_Mouth_Pout", "SR_32_Mouth_Sad_Left", "SR_33_Mouth_Sad_Right", "SR_34_Mouth_Smile_Left",
    "SR_35_Mouth_Smile_Right", "SR_36_Mouth_Upper_Inside", "SR_37_Mouth_Upper_Left", "SR_38_Mouth_Upper_Overturn",
    "SR_39_Mouth_Upper_Right", "SR_40_Mouth_Upper_UpLeft", "SR_41_Mouth_Upper_UpRight", "SR_42_Tongue_LongStep1",
];

/// The raw controls of a MetaHuman head, in the order of the DNA.
#[rustfmt::skip]
pub const METAHUMAN: &[&str] = &[
    "CTRL_expressions_browDownL", "CTRL_expressions_browDownR", "CTRL_expressions_browLateralL",
    "CTRL_expressions_browLateralR", "CTRL_expressions_browRaiseInL", "CTRL_expressions_browRaiseInR",
    "CTRL_expressions_browRaiseOuterL", "CTRL_expressions_browRaiseOuterR", "CTRL_expressions_earUpL",
    "CTRL_expressions_earUpR", "CTRL_expressions_eyeBlinkL", "CTRL_expressions_eyeBlinkR",
    "CTRL_expressions_eyeLidPressL", "CTRL_expressions_eyeLidPressR", "CTRL_expressions_eyeWidenL",
    "CTRL_expressions_eyeWidenR", "CTRL_expressions_eyeSquintInnerL", "CTRL_expressions_eyeSquintInnerR",
    "CTRL_expressions_eyeCheekRaiseL", "CTRL_expressions_eyeCheekRaiseR", "CTRL_expressions_eyeFaceScrunchL",
    "CTRL_expressions_eyeFaceScrunchR", "CTRL_expressions_eyeUpperLidUpL", "CTRL_expressions_eyeUpperLidUpR",
    "CTRL_expressions_eyeRelaxL", "CTRL_expressions_eyeRelaxR", "CTRL_expressions_eyeLowerLidUpL",
    "CTRL_expressions_eyeLowerLidUpR", "CTRL_expressions_eyeLowerLidDownL", "CTRL_expressions_eyeLowerLidDownR",
    "CTRL_expressions_eyeLookUpL", "CTRL_expressions_eyeLookUpR", "CTRL_expressions_eyeLookDownL",
    "CTRL_expressions_eyeLookDownR", "CTRL_expressions_eyeLookLeftL", "CTRL_expressions_eyeLookLeftR",
    "CTRL_expressions_eyeLookRightL", "CTRL_expressions_eyeLookRightR", "CTRL_expressions_eyePupilWideL",
    "CTRL_expressions_eyePupilWideR", "CTRL_expressions_eyePupilNarrowL", "CTRL_expressions_eyePupilNarrowR",
    "CTRL_expressions_eyeParallelLookDirection", "CTRL_expressions_eyelashesUpINL",
    "CTRL_expressions_eyelashesUpINR", "CTRL_expressions_eyelashesUpOUTL", "CTRL_expressions_eyelashesUpOUTR",
    "CTRL_expressions_eyelashesDownINL", "CTRL_expressions_eyelashesDownINR", "CTRL_expressions_eyelashesDownOUTL",
    "CTRL_expressions_eyelashesDownOUTR", "CTRL_expressions_noseWrinkleL", "CTRL_expressions_noseWrinkleR",
    "CTRL_expressions_noseWrinkleUpperL", "CTRL_expressions_noseWrinkleUpperR",
    "CTRL_expressions_noseNostrilDepressL", "CTRL_expressions_noseNostrilDepressR",
    "CTRL_expressions_noseNostrilDilateL", "CTRL_expressions_noseNostrilDilateR",
    "CTRL_expressions_noseNostrilCompressL", "CTRL_expressions_noseNostrilCompressR",
    "CTRL_expressions_noseNasolabialDeepenL", "CTRL_expressions_noseNasolabialDeepenR",
    "CTRL_expressions_mouthCheekSuckL", "CTRL_expressions_mouthCheekSuckR", "CTRL_expressions_mouthCheekBlowL",
    "CTRL_expressions_mouthCheekBlowR", "CTRL_expressions_mouthLipsBlowL", "CTRL_expressions_mouthLipsBlowR",
    "CTRL_expressions_mouthLeft", "CTRL_expressions_mouthRight", "CTRL_expressions_mouthUp",
    "CTRL_expressions_mouthDown", "CTRL_expressions_mouthUpperLipRaiseL", "CTRL_expressions_mouthUpperLipRaiseR",
    "CTRL_expressions_mouthLowerLipDepressL", "CTRL_expressions_mouthLowerLipDepressR",
    "CTRL_expressions_mouthCornerPullL", "CTRL_expressions_mouthCornerPullR", "CTRL_expressions_mouthStretchL",
    "CTRL_expressions_mouthStretchR", "CTRL_expressions_mouthStretchLipsCloseL",
    "CTRL_expressions_mouthStretchLipsCloseR", "CTRL_expressions_mouthDimpleL", "CTRL_expressions_mouthDimpleR",
    "CTRL_expressions_mouthCornerDepressL", "CTRL_expressions_mouthCornerDepressR", "CTRL_expressions_mouthPressUL",
    "CTRL_expressions_mouthPressUR", "CTRL_expressions_mouthPressDL", "CTRL_expressions_mouthPressDR",
    "CTRL_expressions_mouthLipsPurseUL", "CTRL_expressions_mouthLipsPurseUR", "CTRL_expressions_mouthLipsPurseDL",
    "CTRL_expressions_mouthLipsPurseDR", "CTRL_expressions_mouthLipsTowardsUL",
    "CTRL_expressions_mouthLipsTowardsUR", "CTRL_expressions_mouthLipsTowardsDL",
    "CTRL_expressions_mouthLipsTowardsDR", "CTRL_expressions_mouthFunnelUL", "CTRL_expressions_mouthFunnelUR",
    "CTRL_expressions_mouthFunnelDL", "CTRL_expressions_mouthFunnelDR", "CTRL_expressions_mouthLipsTogetherUL",
    "CTRL_expressions_mouthLipsTogetherUR", "CTRL_expressions_mouthLipsTogetherDL",
    "CTRL_expressions_mouthLipsTogetherDR", "CTRL_expressions_mouthUpperLipBiteL",
    "CTRL_expressions_mouthUpperLipBiteR", "CTRL_expressions_mouthLowerLipBiteL",
    "CTRL_expressions_mouthLowerLipBiteR", "CTRL_expressions_mouthLipsTightenUL",
    "CTRL_expressions_mouthLipsTightenUR", "CTRL_expressions_mouthLipsTightenDL",
    "CTRL_expressions_mouthLipsTightenDR", "CTRL_expressions_mouthLipsPressL", "CTRL_expressions_mouthLipsPressR",
    "CTRL_expressions_mouthSharpCornerPullL", "CTRL_expressions_mouthSharpCornerPullR",
    "CTRL_expressions_mouthStickyUC", "CTRL_expressions_mouthStickyUINL", "CTRL_expressions_mouthStickyUINR",
    "CTRL_expressions_mouthStickyUOUTL", "CTRL_expressions_mouthStickyUOUTR", "CTRL_expressions_mouthStickyDC",
    "CTRL_expressions_mouthStickyDINL", "CTRL_expressions_mouthStickyDINR", "CTRL_expressions_mouthStickyDOUTL",
    "CTRL_expressions_mouthStickyDOUTR", "CTRL_expressions_mouthLipsStickyLPh1",
    "CTRL_expressions_mouthLipsStickyLPh2", "CTRL_expressions_mouthLipsStickyLPh3",
    "CTRL_expressions_mouthLipsStickyRPh1", "CTRL_expressions_mouthLipsStickyRPh2",
    "CTRL_expressions_mouthLipsStickyRPh3", "CTRL_expressions_mouthLipsPushUL", "CTRL_expressions_mouthLipsPushUR",
    "CTRL_expressions_mouthLipsPushDL", "CTRL_expressions_mouthLipsPushDR", "CTRL_expressions_mouthLipsPullUL",
    "CTRL_expressions_mouthLipsPullUR", "CTRL_expressions_mouthLipsPullDL", "CTRL_expressions_mouthLipsPullDR",
    "CTRL_expressions_mouthLipsThinUL", "CTRL_expressions_mouthLipsThinUR", "CTRL_expressions_mouthLipsThinDL",
    "CTRL_expressions_mouthLipsThinDR", "CTRL_expressions_mouthLipsThickUL", "CTRL_expressions_mouthLipsThickUR",
    "CTRL_expressions_mouthLipsThickDL", "CTRL_expressions_mouthLipsThickDR",
    "CTRL_expressions_mouthCornerSharpenUL", "CTRL_expressions_mouthCornerSharpenUR",
    "CTRL_expressions_mouthCornerSharpenDL", "CTRL_expressions_mouthCornerSharpenDR",
    "CTRL_expressions_mouthCornerRounderUL", "CTRL_expressions_mouthCornerRounderUR",
    "CTRL_expressions_mouthCornerRounderDL", "CTRL_expressions_mouthCornerRounderDR",
    "CTRL_expressions_mouthUpperLipTowardsTeethL", "CTRL_expressions_mouthUpperLipTowardsTeethR",
    "CTRL_expressions_mouthLowerLipTowardsTeethL", "CTRL_expressions_mouthLowerLipTowardsTeethR",
    "CTRL_expressions_mouthUpperLipShiftLeft", "CTRL_expressions_mouthUpperLipShiftRight",
    "CTRL_expressions_mouthLowerLipShiftLeft", "CTRL_expressions_mouthLowerLipShiftRight",
    "CTRL_expressions_mouthUpperLipRollInL", "CTRL_expressions_mouthUpperLipRollInR",
    "CTRL_expressions_mouthUpperLipRollOutL", "CTRL_expressions_mouthUpperLipRollOutR",
    "CTRL_expressions_mouthLowerLipRollInL", "CTRL_expressions_mouthLowerLipRollInR",
    "CTRL_expressions_mouthLowerLipRollOutL", "CTRL_expressions_mouthLowerLipRollOutR",
    "CTRL_expressions_mouthCornerUpL", "CTRL_expressions_mouthCornerUpR", "CTRL_expressions_mouthCornerDownL",
    "CTRL_expressions_mouthCornerDownR", "CTRL_expressions_mouthCornerWideL", "CTRL_expressions_mouthCornerWideR",
    "CTRL_expressions_mouthCornerNarrowL", "CTRL_expressions_mouthCornerNarrowR", "CTRL_expressions_tongueUp",
    "CTRL_expressions_tongueDown", "CTRL_expressions_tongueLeft", "CTRL_expressions_tongueRight",
    "CTRL_expressions_tongueOut", "CTRL_expressions_tongueIn", "CTRL_expressions_tongueRollUp",
    "CTRL_expressions_tongueRollDown", "CTRL_expressions_tongueRollLeft", "CTRL_expressions_tongueRollRight",
    "CTRL_expressions_tongueTipUp", "CTRL_expressions_tongueTipDown", "CTRL_expressions_tongueTipLeft",
    "CTRL_expressions_tongueTipRight", "CTRL_expressions_tongueWide", "CTRL_expressions_tongueNarrow",
    "CTRL_expressions_tonguePress", "CTRL_expressions_jawOpen", "CTRL_expressions_jawLeft",
    "CTRL_expressions_jawRight", "CTRL_expressions_jawFwd", "CTRL_expressions_jawBack",
    "CTRL_expressions_jawClenchL", "CTRL_expressions_jawClenchR", "CTRL_expressions_jawChinRaiseDL",
    "CTRL_expressions_jawChinRaiseDR", "CTRL_expressions_jawChinRaiseUL", "CTRL_expressions_jawChinRaiseUR",
    "CTRL_expressions_jawChinCompressL", "CTRL_expressions_jawChinCompressR", "CTRL_expressions_jawOpenExtreme",
    "CTRL_expressions_neckStretchL", "CTRL_expressions_neckStretchR", "CTRL_expressions_neckSwallowPh1",
    "CTRL_expressions_neckSwallowPh2", "CTRL_expressions_neckSwallowPh3", "CTRL_expressions_neckSwallowPh4",
    "CTRL_expressions_neckMastoidContractL", "CTRL_expressions_neckMastoidContractR",
    "CTRL_expressions_neckThroatDown", "CTRL_expressions_neckThroatUp", "CTRL_expressions_neckDigastricDown",
    "CTRL_expressions_neckDigastricUp", "CTRL_expressions_neckThroatExhale", "CTRL_expressions_neckThroatInhale",
    "CTRL_expressions_teethUpU", "CTRL_expressions_teethUpD", "CTRL_expressions_teethDownU",
    "CTRL_expressions_teethDownD", "CTRL_expressions_teethLeftU", "CTRL_expressions_teethLeftD",
    "CTRL_expressions_teethRightU", "CTRL_expressions_teethRightD", "CTRL_expressions_teethFwdU",
    "CTRL_expressions_teethFwdD", "CTRL_expressions_teethBackU", "CTRL_expressions_teethBackD",
    "CTRL_expressions_skullUnified",
];

/// The base shapes of VRCFaceTracking, in the order of its list.
#[rustfmt::skip]
pub const UNIFIED_EXPRESSIONS: &[&str] = &[
    "EyeLookOutRight", "EyeLookInRight", "EyeLookUpRight", "EyeLookDownRight", "EyeLookOutLeft", "EyeLookInLeft",
    "EyeLookUpLeft", "EyeLookDownLeft", "EyeClosedRight", "EyeClosedLeft", "EyeSquintRight", "EyeSquintLeft",
    "EyeWideRight", "EyeWideLeft", "EyeDilationRight", "EyeDilationLeft", "EyeConstrictRight", "EyeConstrictLeft",
    "BrowPinchRight", "BrowPinchLeft", "BrowLowererRight", "BrowLowererLeft", "BrowInnerUpRight", "BrowInnerUpLeft",
    "BrowOuterUpRight", "BrowOuterUpLeft", "NoseSneerRight", "NoseSneerLeft", "NasalDilationRight",
    "NasalDilationLeft", "NasalConstrictRight", "NasalConstrictLeft", "CheekSquintRight", "CheekSquintLeft",
    "CheekPuffRight", "CheekPuffLeft", "CheekSuckRight", "CheekSuckLeft", "JawOpen", "MouthClosed", "JawRight",
    "JawLeft", "JawForward", "JawBackward", "JawClench", "JawMandibleRaise", "LipSuckUpperRight",
    "LipSuckUpperLeft", "LipSuckLowerRight", "LipSuckLowerLeft", "LipSuckCornerRight", "LipSuckCornerLeft",
    "LipFunnelUpperRight", "LipFunnelUpperLeft", "LipFunnelLowerRight", "LipFunnelLowerLeft", "LipPuckerUpperRight",
    "LipPuckerUpperLeft", "LipPuckerLowerRight", "LipPuckerLowerLeft", "MouthUpperUpRight", "MouthUpperUpLeft",
    "MouthLowerDownRight", "MouthLowerDownLeft", "MouthUpperDeepenRight", "MouthUpperDeepenLeft", "MouthUpperRight",
    "MouthUpperLeft", "MouthLowerRight", "MouthLowerLeft", "MouthCornerPullRight", "MouthCornerPullLeft",
    "MouthCornerSlantRight", "MouthCornerSlantLeft", "MouthFrownRight", "MouthFrownLeft", "MouthStretchRight",
    "MouthStretchLeft", "MouthDimpleRight", "MouthDimpleLeft", "MouthRaiserUpper", "MouthRaiserLower",
    "MouthPressRight", "MouthPressLeft", "MouthTightenerRight", "MouthTightenerLeft", "TongueOut", "TongueUp",
    "TongueDown", "TongueRight", "TongueLeft", "TongueRoll", "TongueBendDown", "TongueCurlUp", "TongueSquish",
    "TongueFlat", "TongueTwistRight", "TongueTwistLeft", "SoftPalateClose", "ThroatSwallow", "NeckFlexRight",
    "NeckFlexLeft",
];

/// The blended shapes of the same list, which rigs carry besides the base shapes.
#[rustfmt::skip]
pub const UNIFIED_BLENDED: &[&str] = &[
    "EyeClosed", "EyeWide", "EyeSquint", "EyeDilation", "EyeConstrict", "BrowDownRight", "BrowDownLeft", "BrowDown",
    "BrowInnerUp", "BrowUpRight", "BrowUpLeft", "BrowUp", "NoseSneer", "NasalDilation", "NasalConstrict",
    "CheekPuff", "CheekSuck", "CheekSquint", "LipSuckUpper", "LipSuckLower", "LipSuck", "LipFunnelUpper",
    "LipFunnelLower", "LipFunnel", "LipPuckerUpper", "LipPuckerLower", "LipPucker", "MouthUpperUp",
    "MouthLowerDown", "MouthOpen", "MouthRight", "MouthLeft", "MouthSmileRight", "MouthSmileLeft", "MouthSmile",
    "MouthSadRight", "MouthSadLeft", "MouthSad", "MouthStretch", "MouthDimple", "MouthTightener", "MouthPress",
];

/// Faceshift Studio 2014.1, in the order that it streams.
#[rustfmt::skip]
pub const FACESCAPE: &[&str] = &[
    "EyeBlink_L", "EyeBlink_R", "EyeSquint_L", "EyeSquint_R", "EyeDown_L", "EyeDown_R", "EyeIn_L", "EyeIn_R",
    "EyeOpen_L", "EyeOpen_R", "EyeOut_L", "EyeOut_R", "EyeUp_L", "EyeUp_R", "BrowsD_L", "BrowsD_R", "BrowsU_C",
    "BrowsU_L", "BrowsU_R", "JawOpen", "LipsTogether", "JawLeft", "JawRight", "JawFwd", "LipsUpperUp_L",
    "LipsUpperUp_R", "LipsLowerDown_L", "LipsLowerDown_R", "LipsUpperClose", "LipsLowerClose", "MouthSmile_L",
    "MouthSmile_R", "MouthDimple_L", "MouthDimple_R", "LipsStretch_L", "LipsStretch_R", "MouthFrown_L",
    "MouthFrown_R", "MouthPress_L", "MouthPress_R", "LipsPucker", "LipsFunnel", "MouthLeft", "MouthRight",
    "ChinLowerRaise", "ChinUpperRaise", "Sneer_L", "Sneer_R", "Puff", "CheekSquint_L", "CheekSquint_R",
];

/// Faceshift's classic profile, in its order.
#[rustfmt::skip]
pub const FACESHIFT_48: &[&str] = &[
    "EyeBlink_L", "EyeBlink_R", "EyeSquint_L", "EyeSquint_R", "EyeDown_L", "EyeDown_R", "EyeIn_L", "EyeIn_R",
    "EyeOpen_L", "EyeOpen_R", "EyeOut_L", "EyeOut_R", "EyeUp_L", "EyeUp_R", "BrowsD_L", "BrowsD_R", "BrowsU_C",
    "BrowsU_L", "BrowsU_R", "JawFwd", "JawLeft", "JawOpen", "JawChew", "JawRight", "MouthLeft", "MouthRight",
    "MouthFrown_L", "MouthFrown_R", "MouthSmile_L", "MouthSmile_R", "MouthDimple_L", "MouthDimple_R",
    "LipsStretch_L", "LipsStretch_R", "LipsUpperClose", "LipsLowerClose", "LipsUpperUp", "LipsLowerDown",
    "LipsUpperOpen", "LipsLowerOpen", "LipsFunnel", "LipsPucker", "ChinLowerRaise", "ChinUpperRaise", "Sneer",
    "Puff", "CheekSquint_L", "CheekSquint_R",
];

/// Action units with sides where muscles have them.
#[rustfmt::skip]
pub const FACS: &[&str] = &[
    "AU1_L", "AU1_R", "AU2_L", "AU2_R", "AU4_L", "AU4_R", "AU5_L", "AU5_R", "AU6_L", "AU6_R", "AU7_L", "AU7_R",
    "AU8", "AU9_L", "AU9_R", "AU10_L", "AU10_R", "AU11_L", "AU11_R", "AU12_L", "AU12_R", "AU13_L", "AU13_R",
    "AU14_L", "AU14_R", "AU15_L", "AU15_R", "AU16_L", "AU16_R", "AU17", "AU18", "AU19", "AU20_L", "AU20_R", "AU22",
    "AU23", "AU24_L", "AU24_R", "AU25", "AU26", "AU27", "AU28", "AU29", "AU30_L", "AU30_R", "AU34", "AU43_L",
    "AU43_R", "AU45_L", "AU45_R", "AU61_L", "AU61_R", "AU62_L", "AU62_R", "AU63_L", "AU63_R", "AU64_L", "AU64_R",
];

/// Action units of both sides at once, two digits.
#[rustfmt::skip]
pub const FACS_BOTH: &[&str] = &[
    "AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU08", "AU09", "AU10", "AU11", "AU12", "AU13", "AU14", "AU15",
    "AU16", "AU17", "AU18", "AU19", "AU20", "AU22", "AU23", "AU24", "AU25", "AU26", "AU27", "AU28", "AU29", "AU34",
    "AU43", "AU45", "AU61", "AU62", "AU63", "AU64",
];

/// Meta's XR face: XR_FB_face_tracking and the tongue of the second version, as the Movement SDK spells them.
#[rustfmt::skip]
pub const META_FACE: &[&str] = &[
    "Brow_Lowerer_L", "Brow_Lowerer_R", "Cheek_Puff_L", "Cheek_Puff_R", "Cheek_Raiser_L", "Cheek_Raiser_R",
    "Cheek_Suck_L", "Cheek_Suck_R", "Chin_Raiser_B", "Chin_Raiser_T", "Dimpler_L", "Dimpler_R", "Eyes_Closed_L",
    "Eyes_Closed_R", "Eyes_Look_Down_L", "Eyes_Look_Down_R", "Eyes_Look_Left_L", "Eyes_Look_Left_R",
    "Eyes_Look_Right_L", "Eyes_Look_Right_R", "Eyes_Look_Up_L", "Eyes_Look_Up_R", "Inner_Brow_Raiser_L",
    "Inner_Brow_Raiser_R", "Jaw_Drop", "Jaw_Sideways_Left", "Jaw_Sideways_Right", "Jaw_Thrust", "Lid_Tightener_L",
    "Lid_Tightener_R", "Lip_Corner_Depressor_L", "Lip_Corner_Depressor_R", "Lip_Corner_Puller_L",
    "Lip_Corner_Puller_R", "Lip_Funneler_LB", "Lip_Funneler_LT", "Lip_Funneler_RB", "Lip_Funneler_RT",
    "Lip_Pressor_L", "Lip_Pressor_R", "Lip_Pucker_L", "Lip_Pucker_R", "Lip_Stretcher_L", "Lip_Stretcher_R",
    "Lip_Suck_LB", "Lip_Suck_LT", "Lip_Suck_RB", "Lip_Suck_RT", "Lip_Tightener_L", "Lip_Tightener_R", "Lips_Toward",
    "Lower_Lip_Depressor_L", "Lower_Lip_Depressor_R", "Mouth_Left", "Mouth_Right", "Nose_Wrinkler_L",
    "Nose_Wrinkler_R", "Outer_Brow_Raiser_L", "Outer_Brow_Raiser_R", "Upper_Lid_Raiser_L", "Upper_Lid_Raiser_R",
    "Upper_Lip_Raiser_L", "Upper_Lip_Raiser_R", "Tongue_Tip_Interdental", "Tongue_Tip_Alveolar",
    "Tongue_Front_Dorsal_Palate", "Tongue_Mid_Dorsal_Palate", "Tongue_Back_Dorsal_Velar", "Tongue_Out",
    "Tongue_Retreat",
];

/// SRanipal's eyes and lips, version 2, as VRChat avatars carry them.
#[rustfmt::skip]
pub const SRANIPAL: &[&str] = &[
    "Eye_Left_squeeze", "Eye_Right_squeeze", "Eye_Left_Blink", "Eye_Left_Right", "Eye_Left_Left", "Eye_Left_Down",
    "Eye_Left_Up", "Eye_Right_Blink", "Eye_Right_Right", "Eye_Right_Left", "Eye_Right_Down", "Eye_Right_Up",
    "Eye_Left_Wide", "Eye_Right_Wide", "Eye_Left_Dilation", "Eye_Left_Constrict", "Eye_Right_Dilation",
    "Eye_Right_Constrict", "Jaw_Right", "Jaw_Left", "Jaw_Forward", "Jaw_Open", "Mouth_Ape_Shape", "Mouth_Upper_Right",
    "Mouth_Upper_Left", "Mouth_Lower_Right", "Mouth_Lower_Left", "Mouth_Upper_Overturn", "Mouth_Lower_Overturn",
    "Mouth_Pout", "Mouth_Smile_Right", "Mouth_Smile_Left", "Mouth_Sad_Right", "Mouth_Sad_Left", "Cheek_Puff_Right",
    "Cheek_Puff_Left", "Cheek_Suck", "Mouth_Upper_UpRight", "Mouth_Upper_UpLeft", "Mouth_Lower_DownRight",
    "Mouth_Lower_DownLeft", "Mouth_Upper_Inside", "Mouth_Lower_Inside", "Mouth_Lower_Overlay", "Tongue_LongStep1",
    "Tongue_Left", "Tongue_Right", "Tongue_Up", "Tongue_Down", "Tongue_Roll", "Tongue_LongStep2",
    "Tongue_UpRight_Morph", "Tongue_UpLeft_Morph", "Tongue_DownRight_Morph", "Tongue_DownLeft_Morph",
];

/// Adobe Fuse and Mixamo, all 50.
#[rustfmt::skip]
pub const FUSE: &[&str] = &[
    "Blink_Left", "Blink_Right", "BrowsDown_Left", "BrowsDown_Right", "BrowsIn_Left", "BrowsIn_Right",
    "BrowsOuterLower_Left", "BrowsOuterLower_Right", "BrowsUp_Left", "BrowsUp_Right", "CheekPuff_Left",
    "CheekPuff_Right", "EyesWide_Left", "EyesWide_Right", "Frown_Left", "Frown_Right", "JawBackward", "JawForeward",
    "JawRotateY_Left", "JawRotateY_Right", "JawRotateZ_Left", "JawRotateZ_Right", "Jaw_Down", "Jaw_Left", "Jaw_Right",
    "Jaw_Up", "LowerLipDown_Left", "LowerLipDown_Right", "LowerLipIn", "LowerLipOut", "Midmouth_Left",
    "Midmouth_Right", "MouthDown", "MouthNarrow_Left", "MouthNarrow_Right", "MouthOpen", "MouthUp",
    "MouthWhistle_NarrowAdjust_Left", "MouthWhistle_NarrowAdjust_Right", "NoseScrunch_Left", "NoseScrunch_Right",
    "Smile_Left", "Smile_Right", "Squint_Left", "Squint_Right", "TongueUp", "UpperLipIn", "UpperLipOut",
    "UpperLipUp_Left", "UpperLipUp_Right",
];

/// Autodesk Character Generator in high resolution.
#[rustfmt::skip]
pub const CHARACTER_GENERATOR: &[&str] = &[
    "h_expressions.AE_AA_h", "h_expressions.AO_a_h", "h_expressions.Ax_E_h", "h_expressions.FV_h",
    "h_expressions.KG_h", "h_expressions.MPB_Up_h", "h_expressions.MPB_Down_h", "h_expressions.S_h",
    "h_expressions.SH_CH_h", "h_expressions.TD_I_h", "h_expressions.UH_OO_h", "h_expressions.UW_U_h",
    "h_expressions.Kiss_h", "h_expressions.Shout_h", "h_expressions.Chew_h", "h_expressions.Glotis_h",
    "h_expressions.Chin_h", "h_expressions.MouthOpen_h", "h_expressions.JawFront_h", "h_expressions.JawCompress_h",
    "h_expressions.Ljaw_h", "h_expressions.Rjaw_h", "h_expressions.Lblow_h", "h_expressions.Rblow_h",
    "h_expressions.LbrowUp_h", "h_expressions.RbrowUp_h", "h_expressions.LbrowDown_h", "h_expressions.RbrowDown_h",
    "h_expressions.Ldisgust_h", "h_expressions.Rdisgust_h", "h_expressions.LeyeClose_h", "h_expressions.ReyeClose_h",
    "h_expressions.LeyeOpen_h", "h_expressions.ReyeOpen_h", "h_expressions.LlipCorner_h",
    "h_expressions.RlipCorner_h", "h_expressions.LlipDown_h", "h_expressions.RlipDown_h", "h_expressions.LlipSide_h",
    "h_expressions.RlipSide_h", "h_expressions.LlipUp_h", "h_expressions.RlipUp_h", "h_expressions.LlowLid_h",
    "h_expressions.RlowLid_h", "h_expressions.LmouthSad_h", "h_expressions.RmouthSad_h", "h_expressions.Lnostril_h",
    "h_expressions.Rnostril_h", "h_expressions.Lsad_h", "h_expressions.Rsad_h", "h_expressions.LsmileClose_h",
    "h_expressions.RsmileClose_h", "h_expressions.LsmileOpen_h", "h_expressions.RsmileOpen_h",
    "h_expressions.Lsquint_h", "h_expressions.Rsquint_h", "h_expressions.LLbrowUp_h", "h_expressions.RRbrowUp_h",
];

/// Daz Genesis 9, as its bridge exports it.
#[rustfmt::skip]
pub const DAZ_FACS: &[&str] = &[
    "facs_bs_BrowInnerUpLeft", "facs_bs_BrowInnerUpRight", "facs_bs_BrowOuterUpLeft", "facs_bs_BrowOuterUpRight",
    "facs_bs_BrowSqueezeLeft", "facs_bs_BrowSqueezeRight", "facs_bs_BrowDownLeft", "facs_bs_BrowDownRight",
    "facs_bs_CheekPuffLeft", "facs_bs_CheekPuffRight", "facs_bs_CheekSquintLeft", "facs_bs_CheekSquintRight",
    "facs_bs_EyeBlinkLeft", "facs_bs_EyeBlinkRight", "facs_bs_EyelidOpenLowerLeft", "facs_bs_EyelidOpenLowerRight",
    "facs_bs_EyelidOpenUpperLeft", "facs_bs_EyelidOpenUpperRight", "facs_bs_EyeLookUpLeft", "facs_bs_EyeLookUpRight",
    "facs_bs_EyeLookDownLeft", "facs_bs_EyeLookDownRight", "facs_bs_EyeLookInLeft", "facs_bs_EyeLookInRight",
    "facs_bs_EyeLookOutLeft", "facs_bs_EyeLookOutRight", "facs_bs_EyeSquintLeft", "facs_bs_EyeSquintRight",
    "facs_bs_JawForward", "facs_bs_JawLeft", "facs_bs_JawOpen", "facs_bs_JawRecess", "facs_bs_JawRight",
    "facs_bs_JawChinCompression", "facs_bs_MouthCloseLowerLeft", "facs_bs_MouthCloseLowerRight",
    "facs_bs_MouthCloseUpperLeft", "facs_bs_MouthCloseUpperRight", "facs_bs_MouthCornerMoveSide-SideLeft",
    "facs_bs_MouthCornerMoveSide-SideRight", "facs_bs_MouthDimpleLeft", "facs_bs_MouthDimpleRight",
    "facs_bs_MouthForwardLowerLeft", "facs_bs_MouthForwardLowerRight", "facs_bs_MouthForwardUpperLeft",
    "facs_bs_MouthForwardUpperRight", "facs_bs_MouthFrownLeft", "facs_bs_MouthFrownRight",
    "facs_bs_MouthFunnelLowerLeft", "facs_bs_MouthFunnelLowerRight", "facs_bs_MouthFunnelUpperLeft",
    "facs_bs_MouthFunnelUpperRight", "facs_bs_MouthLeft", "facs_bs_MouthLowerDownLeft", "facs_bs_MouthLowerDownRight",
    "facs_bs_MouthPressLowerLeft", "facs_bs_MouthPressLowerRight", "facs_bs_MouthPressUpperLeft",
    "facs_bs_MouthPressUpperRight", "facs_bs_MouthPurseLowerLeft", "facs_bs_MouthPurseLowerRight",
    "facs_bs_MouthPurseUpperLeft", "facs_bs_MouthPurseUpperRight", "facs_bs_MouthRight", "facs_bs_MouthRollLowerLeft",
    "facs_bs_MouthRollLowerRight", "facs_bs_MouthRollUpperLeft", "facs_bs_MouthRollUpperRight",
    "facs_bs_MouthShrugLowerLeft", "facs_bs_MouthShrugLowerRight", "facs_bs_MouthShrugUpperLeft",
    "facs_bs_MouthShrugUpperRight", "facs_bs_MouthSmileLeft", "facs_bs_MouthSmileRight",
    "facs_bs_MouthSmileWidenLeft", "facs_bs_MouthSmileWidenRight", "facs_bs_MouthStretchLeft",
    "facs_bs_MouthStretchRight", "facs_bs_MouthUpperUpLeft", "facs_bs_MouthUpperUpRight", "facs_bs_NasalFlareLeft",
    "facs_bs_NasalFlareRight", "facs_bs_NoseSneerLeft", "facs_bs_NoseSneerRight", "facs_cbs_EyeFullCompressionLeft",
    "facs_cbs_EyeFullCompressionRight", "facs_ctrl_MouthFunnel", "facs_ctrl_MouthPressLeft",
    "facs_ctrl_MouthPressRight", "facs_ctrl_MouthPucker", "facs_ctrl_MouthRollLower", "facs_ctrl_MouthRollUpper",
    "body_cbs_neck1_x25p", "facs_bs_TongueOut",
];

/// Daz Genesis 8.1 with its ARKit set.
#[rustfmt::skip]
pub const DAZ_GENESIS_8_1: &[&str] = &[
    "facs_jnt_EyeWideLeft", "facs_jnt_EyeWideRight", "facs_jnt_EyeBlinkLeft", "facs_jnt_EyeBlinkRight",
    "facs_bs_EyeSquintLeft_div2", "facs_bs_EyeSquintRight_div2", "facs_ctrl_EyeLookUpLeft",
    "facs_ctrl_EyeLookUpRight", "facs_ctrl_EyeLookOutLeft", "facs_ctrl_EyeLookOutRight", "facs_ctrl_EyeLookInLeft",
    "facs_ctrl_EyeLookInRight", "facs_ctrl_EyeLookDownLeft", "facs_ctrl_EyeLookDownRight",
    "facs_bs_NoseSneerLeft_div2", "facs_bs_NoseSneerRight_div2", "facs_jnt_JawForward", "facs_jnt_JawLeft",
    "facs_jnt_JawRight", "facs_jnt_JawOpen", "facs_jnt_JawRecess", "facs_bs_MouthClose_div2",
    "facs_bs_MouthFunnel_div2", "facs_bs_MouthPucker_div2", "facs_bs_MouthLeft_div2", "facs_bs_MouthRight_div2",
    "facs_bs_MouthSmileLeft_div2", "facs_bs_MouthSmileRight_div2", "facs_bs_MouthFrownLeft_div2",
    "facs_bs_MouthFrownRight_div2", "facs_bs_MouthDimpleLeft_div2", "facs_bs_MouthDimpleRight_div2",
    "facs_bs_MouthStretchLeft_div2", "facs_bs_MouthStretchRight_div2", "facs_bs_MouthRollLower_div2",
    "facs_bs_MouthRollUpper_div2", "facs_bs_MouthShrugLower_div2", "facs_bs_MouthShrugUpper_div2",
    "facs_bs_MouthPressLeft_div2", "facs_bs_MouthPressRight_div2", "facs_bs_MouthLowerDownLeft_div2",
    "facs_bs_MouthLowerDownRight_div2", "facs_bs_MouthUpperUpLeft_div2", "facs_bs_MouthUpperUpRight_div2",
    "facs_bs_BrowDownLeft_div2", "facs_bs_BrowDownRight_div2", "facs_ctrl_BrowInnerUp",
    "facs_bs_BrowOuterUpLeft_div2", "facs_bs_BrowOuterUpRight_div2", "facs_ctrl_CheekPuff",
    "facs_bs_CheekSquintLeft_div2", "facs_bs_CheekSquintRight_div2", "facs_bs_NasalFlare_div2",
    "facs_cbs_EyeBlinkLeft_div2", "facs_cbs_EyeBlinkRight_div2", "facs_bs_TongueOut",
];

/// Daz Genesis 3 and 8.
#[rustfmt::skip]
pub const DAZ_GENESIS8: &[&str] = &[
    "PHMNoseCompressionHD", "eCTRLSurprised", "eCTRLSmile", "eCTRLFrown", "eCTRLFlirting", "eCTRLAngry",
    "pCTRLNeckHeadTwist", "pCTRLNeckHeadSide-Side", "pCTRLNeckHeadBend", "ePHMCheekCreaseR", "ePHMCheekCreaseL",
    "eCTRLvW", "eCTRLvUW", "eCTRLvTH", "eCTRLvT", "eCTRLvSH", "eCTRLvS", "eCTRLvOW", "eCTRLvM", "eCTRLvL", "eCTRLvK",
    "eCTRLvIY", "eCTRLvIH", "eCTRLvF", "eCTRLvER", "eCTRLvEH", "eCTRLvEE", "eCTRLvAA", "eCTRLTongueUp-Down",
    "eCTRLTongueSide-Side", "eCTRLTongueRaise-Lower", "eCTRLTongueIn-Out", "eCTRLTongueBendTip", "eCTRLNostrilsFlare",
    "eCTRLNoseWrinkle", "eCTRLNoseScrunch", "eCTRLMouthSmileSimpleR", "eCTRLMouthSmileSimpleL",
    "eCTRLMouthSmileSimple", "eCTRLMouthSmileOpen", "eCTRLMouthSmile", "eCTRLMouthSide-SideR", "eCTRLMouthSide-SideL",
    "eCTRLMouthSide-Side", "eCTRLMouthOpenWide", "eCTRLMouthOpen", "eCTRLMouthNarrowR", "eCTRLMouthNarrowL",
    "eCTRLMouthNarrow", "eCTRLMouthFrown", "eCTRLMouthCornerUp-Down", "eCTRLMouthCornerBackR",
    "eCTRLMouthCornerBackL", "eCTRLMouthCornerBack", "eCTRLLipTopUp-DownR", "eCTRLLipTopUp-DownL",
    "eCTRLLipTopUp-Down", "eCTRLLipTopIn-OutR", "eCTRLLipTopIn-OutL", "eCTRLLipTopIn-Out", "eCTRLLipsPuckerWide",
    "eCTRLLipsPucker", "eCTRLLipsPartCenter", "eCTRLLipsPart", "eCTRLLipBottomUp-DownR", "eCTRLLipBottomUp-DownL",
    "eCTRLLipBottomUp-Down", "eCTRLLipBottomIn-Out", "eCTRLJawSide-Side", "eCTRLJawOut-In", "eCTRLEyesUpDown",
    "eCTRLEyesSquintR", "eCTRLEyesSquintL", "eCTRLEyesSquint", "eCTRLEyesSideSide", "eCTRLEyesCrossed",
    "eCTRLEyesClosedR", "eCTRLEyesClosedL", "eCTRLEyesClosed", "eCTRLEyelidsUpperDownUpR", "eCTRLEyelidsUpperDownUpL",
    "eCTRLEyelidsUpperDownUp", "eCTRLEyelidsLowerUpDownR", "eCTRLEyelidsLowerUpDownL", "eCTRLEyelidsLowerUpDown",
    "eCTRLCheeksBalloonPucker", "eCTRLCheeksBalloon", "eCTRLCheekFlexR", "eCTRLCheekFlexL", "eCTRLCheekFlex",
    "eCTRLCheekEyeFlexR", "eCTRLCheekEyeFlexL", "eCTRLCheekEyeFlex", "eCTRLCheekCrease", "eCTRLBrowUp-DownR",
    "eCTRLBrowUp-DownL", "eCTRLBrowUp-Down", "eCTRLBrowSqueeze", "eCTRLBrowOuterUp-DownR", "eCTRLBrowOuterUp-DownL",
    "eCTRLBrowOuterUp-Down", "eCTRLBrowInnerUp-DownR", "eCTRLBrowInnerUp-DownL", "eCTRLBrowInnerUp-Down",
];

/// A MikuMikuDance model.
#[rustfmt::skip]
pub const MMD: &[&str] = &[
    "真面目", "困る", "にこり", "怒り", "上", "下", "まばたき", "笑い", "ウィンク", "ウィンク２", "ウィンク右", "ｳｨﾝｸ２右", "はぅ", "なごみ", "びっくり", "じと目",
    "なぬ！", "瞳小", "瞳縦潰れ", "恐ろしい子！", "カメラ目", "はちゅ目", "星目", "はぁと", "涙", "猫目", "あ", "い", "う", "え", "お", "あ２", "ワ", "∧",
    "▲", "ω", "ω□", "はんっ！", "ぺろっ", "えー", "にやり", "にやり２", "口角上げ", "口角下げ", "口横広げ", "口横狭め", "歯無し上", "歯無し下", "八重歯左",
    "八重歯右", "照れ", "赤面", "青ざめ",
];

/// Every preset with the targets of a rig of its dialect.
pub fn all() -> Vec<(&'static str, &'static [&'static str])> {
    vec![
        ("arkit", ARKIT),
        ("perfect_sync", PERFECT_SYNC),
        ("vrm1", VRM1),
        ("vrm0", VRM0),
        ("ready_player_me", READY_PLAYER_ME),
        ("oculus_visemes", OCULUS_VISEMES),
        ("vroid", VROID),
        ("cc_standard", CC_STANDARD),
        ("cc_arkit", CC_ARKIT),
        ("rocketbox", ROCKETBOX),
        ("metahuman", METAHUMAN),
        ("unified_expressions", UNIFIED_EXPRESSIONS),
        ("facescape", FACESCAPE),
        ("facs", FACS),
        ("meta_face", META_FACE),
        ("sranipal", SRANIPAL),
        ("daz_facs", DAZ_FACS),
        ("daz_genesis8", DAZ_GENESIS8),
        ("fuse", FUSE),
        ("character_generator", CHARACTER_GENERATOR),
        ("mmd", MMD),
    ]
}

/// How many of the 52 shapes the rig of [`all`] must show, counted by hand from its names.
pub fn expected(preset: &str) -> usize {
    match preset {
        // One target for each shape, or several.
        "arkit"
        | "perfect_sync"
        | "ready_player_me"
        | "cc_standard"
        | "cc_arkit"
        | "rocketbox"
        | "metahuman"
        | "unified_expressions"
        | "meta_face"
        | "daz_facs" => 52,
        // Blinks and squints 4, looks 8, wide 2, brows 5 and nose 2 by the moods; of the mouth jawOpen, mouthClose,
        // funnel, pucker, and both sides of stretch, lowerDown, upperUp, smile, dimple, frown: 16. Missing: jaw and
        // mouth to the side and forward 5, rolls 2, shrugs 2, presses 2, cheeks 3, tongue 1.
        "vrm1" | "vrm0" => 37,
        // Lids 6, cheekSquint 2, brows 5, nose 2; of the mouth jawOpen, mouthClose, funnel, pucker, rolls 2, shrugs
        // 2, and both sides of stretch, dimple, press, lowerDown, upperUp, smile, frown: 22. Missing: looks 8, jaw
        // and mouth to the side and forward 5, cheekPuff, tongueOut.
        "vroid" => 37,
        // Blinks 2; jawOpen, mouthClose, funnel, pucker, rolls 2, shrugs 2, tongueOut, and both sides of stretch,
        // dimple, press, lowerDown, upperUp, smile. Missing: the other 12 of the eyes, brows 5, nose 2, cheeks 3,
        // frown 2, jaw and mouth to the side and forward 5.
        "oculus_visemes" => 23,
        // All but tongueOut.
        "facescape" => 51,
        // All but mouthLeft and mouthRight, which no action unit does.
        "facs" => 50,
        // Blinks, wides, squints 6, looks 8, jaw 4, mouthClose, funnel, pucker, both sides of mouth, smile, frown,
        // upperUp, lowerDown, rolls 2, shrugLower, cheekPuff, tongueOut. Missing: brows 5, cheekSquint 2, sneer 2,
        // dimple 2, press 2, stretch 2, shrugUpper.
        "sranipal" => 36,
        // No looks 8, no jaw and mouth to the side 4, no shrugs 2, no tongueOut.
        "daz_genesis8" => 37,
        // No looks 8 and no tongueOut.
        "fuse" => 43,
        // No looks 8, mouth to the side 2, shrugUpper, tongueOut.
        "character_generator" => 40,
        // Lids 6, cheekSquint 2, brows 5, nose 2, tongueOut; of the mouth jawOpen, mouthClose, funnel, pucker and both
        // sides of stretch, dimple, lowerDown, upperUp, smile, frown: 16. Missing: looks 8, jaw and mouth to the side and
        // forward 5, rolls 2, shrugs 2, presses 2, cheekPuff.
        "mmd" => 32,
        _ => 0,
    }
}

/// Further rigs: what it is, the preset that must be found for it, its targets, and how many of the 52 it must show.
pub fn variants() -> Vec<(&'static str, &'static str, Vec<String>, usize)> {
    let same = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let arkit = |spell: &dyn Fn(&str) -> String| ARKIT.iter().map(|name| spell(name)).collect::<Vec<_>>();
    let mut blended = same(UNIFIED_EXPRESSIONS);
    blended.extend(same(UNIFIED_BLENDED));
    let bare_metahuman =
        METAHUMAN.iter().map(|name| name.trim_start_matches("CTRL_expressions_").to_owned()).collect::<Vec<_>>();
    let action_units = same(ROCKETBOX).into_iter().filter(|name| name.starts_with("AU_")).collect::<Vec<_>>();
    let numbered = FACESCAPE.iter().enumerate().map(|(at, name)| format!("{at:02}_{name}")).collect::<Vec<_>>();
    vec![
        ("ARKit, Pascal case", "arkit", arkit(&pascal), 52),
        ("ARKit, _L and _R", "arkit", arkit(&raw_value), 52),
        ("ARKit, _L and _R behind a deformer", "arkit", arkit(&|name| format!("blendShape1.{}", raw_value(name))), 52),
        ("ARKit behind a prefix of all", "arkit", arkit(&|name| format!("Face_BlendShapes_{name}")), 52),
        ("ARKit behind a mesh", "arkit", arkit(&|name| format!("head_geo.{name}")), 52),
        ("ARKit, words apart", "arkit", arkit(&words), 52),
        ("ARKit, browInnerUp and cheekPuff in halves", "arkit", halves(), 52),
        ("Ready Player Me without groups", "ready_player_me", same(READY_PLAYER_ME_BARE), 4),
        ("VRChat's visemes", "oculus_visemes", same(VRCHAT_VISEMES), 23),
        ("Avatar SDK's visemes", "oculus_visemes", same(BARE_VISEMES), 23),
        ("Character Creator 4, standard", "cc_standard", same(CC4_STANDARD), 52),
        // No looks 8, jawForward, jawLeft, jawRight, mouthClose, mouthShrugLower.
        ("Character Creator 3, standard", "cc_standard", same(CC3_STANDARD), 39),
        ("MetaHuman without the prefix", "metahuman", bare_metahuman, 52),
        ("Unified Expressions with blended shapes", "unified_expressions", blended, 52),
        // No mouthPress and no tongueOut; JawChew closes the mouth.
        ("Faceshift, classic", "facescape", same(FACESHIFT_48), 49),
        ("Faceshift, numbered", "facescape", numbered, 51),
        // No mouthLeft, mouthRight, jawLeft, jawRight.
        ("Action units of both sides", "facs", same(FACS_BOTH), 48),
        ("Daz Genesis 8.1", "daz_facs", same(DAZ_GENESIS_8_1), 52),
        ("Daz Genesis 8.1 behind a figure", "daz_facs", prefixed("Genesis8_1Female__", DAZ_GENESIS_8_1), 52),
        ("Daz Genesis 9 behind a figure", "daz_facs", prefixed("Genesis9.Shape__", DAZ_FACS), 52),
        ("Daz Genesis 8 behind its head", "daz_genesis8", prefixed("head__", DAZ_GENESIS8), 37),
        ("Meta face, one word", "meta_face", META_FACE.iter().map(|name| name.replace('_', "")).collect(), 52),
        // Before the second version there is no tongue.
        ("Meta face, first version", "meta_face", same(&META_FACE[..63]), 51),
        ("SRanipal, numbered", "sranipal", numbered_as("SR_", SRANIPAL), 36),
        ("Mixamo behind a deformer", "fuse", prefixed("Facial_Blends.", FUSE), 43),
        ("Character Generator, low resolution", "character_generator", low_resolution(), 40),
        ("VRoid behind a mesh and an old model's name", "vroid", prefixed("Face.M_F00_000_00_", VROID), 37),
        ("VRChat's visemes behind a deformer", "oculus_visemes", prefixed("blendShape1.", VRCHAT_VISEMES), 23),
        (
            "VRChat's visemes, underscores",
            "oculus_visemes",
            VRCHAT_VISEMES.iter().map(|name| name.replace('.', "_")).collect(),
            23,
        ),
        ("ARKit behind a prefix and one without", "arkit", with("Basis", prefixed("Face_BS_", ARKIT)), 52),
        ("ARKit before _h", "arkit", suffixed("_h"), 52),
        ("ARKit before _BS", "arkit", suffixed("_BS"), 52),
        ("ARKit before .001", "arkit", suffixed(".001"), 52),
        ("ARKit before _geo", "arkit", suffixed("_geo"), 52),
        ("ARKit, _L before _h", "arkit", arkit(&|name| format!("{}_h", raw_value(name))), 52),
        ("ARKit, side first", "arkit", arkit(&side_first), 52),
        ("ARKit, side first in one word", "arkit", arkit(&|name| side_first(name).replace('_', "")), 52),
        (
            "ARKit, side in brackets",
            "arkit",
            arkit(&|name| raw_value(name).replace("_L", " (L)").replace("_R", " (R)")),
            52,
        ),
        ("ARKit before BS", "arkit", suffixed("BS"), 52),
        ("ARKit, _L for directions too", "arkit", arkit(&all_sides), 52),
        ("ARKit behind a mesh with a number", "arkit", arkit(&|name| format!("Head_LOD0_{}", raw_value(name))), 52),
        ("ARKit behind a word", "arkit", arkit(&|name| format!("bs{}", pascal(name))), 52),
        ("MetaHuman's own channels", "metahuman", metahuman_channels("head_lod0_mesh__"), 52),
        // Nor AU8, AU19, AU29 and AU34.
        ("Rocketbox's action units alone", "facs", action_units, 44),
    ]
}

fn prefixed(prefix: &str, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("{prefix}{name}")).collect()
}

fn numbered_as(prefix: &str, names: &[&str]) -> Vec<String> {
    names.iter().enumerate().map(|(at, name)| format!("{prefix}{:02}_{name}", at + 1)).collect()
}

fn with(more: &str, mut names: Vec<String>) -> Vec<String> {
    names.push(more.to_owned());
    names
}

fn suffixed(suffix: &str) -> Vec<String> {
    ARKIT.iter().map(|name| format!("{name}{suffix}")).collect()
}

/// `L_eyeBlink`, but `jawLeft`.
fn side_first(name: &str) -> String {
    let name = raw_value(name);
    match name.rsplit_once('_') {
        Some((stem, side)) => format!("{side}_{}", pascal(stem)),
        None => name,
    }
}

/// `eyeBlink_L`, and `jaw_L` as well.
fn all_sides(name: &str) -> String {
    match (name.strip_suffix("Left"), name.strip_suffix("Right")) {
        (Some(stem), _) => format!("{stem}_L"),
        (_, Some(stem)) => format!("{stem}_R"),
        _ => name.to_owned(),
    }
}

fn low_resolution() -> Vec<String> {
    let low =
        |name: &&str| format!("l_expressions.{}_l", name.trim_start_matches("h_expressions.").trim_end_matches("_h"));
    CHARACTER_GENERATOR.iter().map(low).collect()
}

/// As a MetaHuman's DNA names its channels: `eye_blink_L` for `eyeBlinkL`.
pub fn metahuman_channels(prefix: &str) -> Vec<String> {
    let channel = |name: &&str| {
        let name = name.trim_start_matches("CTRL_expressions_");
        let at = name.find(|letter: char| letter.is_ascii_uppercase()).unwrap_or(name.len());
        let (part, rest) = name.split_at(at);
        let mut letters = rest.chars();
        let rest = letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect());
        let sides = ["UL", "UR", "DL", "DR", "L", "R"];
        let split = sides.iter().find_map(|side| rest.strip_suffix(side).map(|stem| (stem, format!("_{side}"))));
        let (stem, side) = split.unwrap_or((&rest, String::new()));
        format!("{prefix}{part}_{stem}{side}")
    };
    METAHUMAN.iter().map(channel).collect()
}

fn pascal(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    first.to_ascii_uppercase() + rest
}

/// Apple's own value behind the constant: `eyeBlink_L`, but `jawLeft`.
fn raw_value(name: &str) -> String {
    if matches!(name, "jawLeft" | "jawRight" | "mouthLeft" | "mouthRight") {
        return name.to_owned();
    }
    match (name.strip_suffix("Left"), name.strip_suffix("Right")) {
        (Some(stem), _) => format!("{stem}_L"),
        (_, Some(stem)) => format!("{stem}_R"),
        _ => name.to_owned(),
    }
}

/// `Eye Blink Left`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in pascal(name).chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter);
    }
    words
}

fn halves() -> Vec<String> {
    let whole =
        ARKIT.iter().filter(|name| !matches!(**name, "browInnerUp" | "cheekPuff")).map(|name| (*name).to_owned());
    whole.chain(["browInnerUp_L", "browInnerUp_R", "cheekPuff_L", "cheekPuff_R"].map(str::to_owned)).collect()
}

/// Of every dialect: an ARKit shape alone at 1, a target that must move, and one that must not.
pub type Check = (&'static str, &'static str, &'static str);

/// Left and right, towards the nose and away from it, up and down, on the rigs of [`all`].
pub fn checks(preset: &str) -> &'static [Check] {
    match preset {
        "arkit" => ARKIT_CHECKS,
        "perfect_sync" => PERFECT_SYNC_CHECKS,
        "vrm1" => VRM1_CHECKS,
        "vrm0" => VRM0_CHECKS,
        "ready_player_me" => READY_PLAYER_ME_CHECKS,
        "oculus_visemes" => OCULUS_VISEMES_CHECKS,
        "vroid" => VROID_CHECKS,
        "cc_standard" => CC_STANDARD_CHECKS,
        "cc_arkit" => CC_ARKIT_CHECKS,
        "rocketbox" => ROCKETBOX_CHECKS,
        "metahuman" => METAHUMAN_CHECKS,
        "unified_expressions" => UNIFIED_EXPRESSIONS_CHECKS,
        "facescape" => FACESCAPE_CHECKS,
        "facs" => FACS_CHECKS,
        "meta_face" => META_FACE_CHECKS,
        "sranipal" => SRANIPAL_CHECKS,
        "daz_facs" => DAZ_FACS_CHECKS,
        "daz_genesis8" => DAZ_GENESIS8_CHECKS,
        "fuse" => FUSE_CHECKS,
        "character_generator" => CHARACTER_GENERATOR_CHECKS,
        "mmd" => MMD_CHECKS,
        _ => &[],
    }
}

#[rustfmt::skip]
const ARKIT_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "eyeBlinkLeft", "eyeBlinkRight"),
    ("eyeBlinkRight", "eyeBlinkRight", "eyeBlinkLeft"),
    ("eyeLookInLeft", "eyeLookInLeft", "eyeLookInRight"),
    ("eyeLookOutLeft", "eyeLookOutLeft", "eyeLookOutRight"),
    ("eyeLookInRight", "eyeLookInRight", "eyeLookInLeft"),
    ("eyeLookOutRight", "eyeLookOutRight", "eyeLookOutLeft"),
    ("eyeLookUpLeft", "eyeLookUpLeft", "eyeLookUpRight"),
    ("eyeLookDownRight", "eyeLookDownRight", "eyeLookDownLeft"),
    ("eyeWideLeft", "eyeWideLeft", "eyeWideRight"),
    ("eyeSquintRight", "eyeSquintRight", "eyeSquintLeft"),
    ("jawLeft", "jawLeft", "jawRight"),
    ("jawRight", "jawRight", "jawLeft"),
    ("mouthLeft", "mouthLeft", "mouthRight"),
    ("mouthRight", "mouthRight", "mouthLeft"),
    ("mouthSmileLeft", "mouthSmileLeft", "mouthSmileRight"),
    ("mouthSmileRight", "mouthSmileRight", "mouthSmileLeft"),
    ("mouthFrownLeft", "mouthFrownLeft", "mouthFrownRight"),
    ("mouthPressRight", "mouthPressRight", "mouthPressLeft"),
    ("mouthUpperUpLeft", "mouthUpperUpLeft", "mouthUpperUpRight"),
    ("mouthLowerDownRight", "mouthLowerDownRight", "mouthLowerDownLeft"),
    ("browDownLeft", "browDownLeft", "browDownRight"),
    ("browOuterUpRight", "browOuterUpRight", "browOuterUpLeft"),
    ("cheekSquintLeft", "cheekSquintLeft", "cheekSquintRight"),
    ("noseSneerRight", "noseSneerRight", "noseSneerLeft"),
    ("browInnerUp", "browInnerUp", "browDownLeft"),
    ("cheekPuff", "cheekPuff", "cheekSquintLeft"),
    ("jawOpen", "jawOpen", "mouthClose"),
    ("mouthRollUpper", "mouthRollUpper", "mouthRollLower"),
    ("mouthShrugLower", "mouthShrugLower", "mouthShrugUpper"),
];

#[rustfmt::skip]
const PERFECT_SYNC_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "EyeBlinkLeft", "EyeBlinkRight"),
    ("eyeBlinkRight", "EyeBlinkRight", "EyeBlinkLeft"),
    ("eyeLookInLeft", "EyeLookInLeft", "EyeLookInRight"),
    ("eyeLookOutLeft", "EyeLookOutLeft", "EyeLookOutRight"),
    ("eyeLookInRight", "EyeLookInRight", "EyeLookInLeft"),
    ("eyeLookOutRight", "EyeLookOutRight", "EyeLookOutLeft"),
    ("eyeLookUpLeft", "EyeLookUpLeft", "EyeLookUpRight"),
    ("eyeLookDownRight", "EyeLookDownRight", "EyeLookDownLeft"),
    ("eyeWideLeft", "EyeWideLeft", "EyeWideRight"),
    ("eyeSquintRight", "EyeSquintRight", "EyeSquintLeft"),
    ("jawLeft", "JawLeft", "JawRight"),
    ("jawRight", "JawRight", "JawLeft"),
    ("mouthLeft", "MouthLeft", "MouthRight"),
    ("mouthRight", "MouthRight", "MouthLeft"),
    ("mouthSmileLeft", "MouthSmileLeft", "MouthSmileRight"),
    ("mouthSmileRight", "MouthSmileRight", "MouthSmileLeft"),
    ("mouthFrownLeft", "MouthFrownLeft", "MouthFrownRight"),
    ("mouthPressRight", "MouthPressRight", "MouthPressLeft"),
    ("mouthUpperUpLeft", "MouthUpperUpLeft", "MouthUpperUpRight"),
    ("mouthLowerDownRight", "MouthLowerDownRight", "MouthLowerDownLeft"),
    ("browDownLeft", "BrowDownLeft", "BrowDownRight"),
    ("browOuterUpRight", "BrowOuterUpRight", "BrowOuterUpLeft"),
    ("cheekSquintLeft", "CheekSquintLeft", "CheekSquintRight"),
    ("noseSneerRight", "NoseSneerRight", "NoseSneerLeft"),
    ("eyeBlinkLeft", "EyeBlinkLeft", "Blink_L"),
    ("jawOpen", "JawOpen", "A"),
    ("mouthSmileLeft", "MouthSmileLeft", "Joy"),
];

#[rustfmt::skip]
const VRM1_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "blinkLeft", "blinkRight"),
    ("eyeBlinkRight", "blinkRight", "blinkLeft"),
    ("eyeBlinkLeft", "blinkLeft", "blink"),
    ("eyeSquintLeft", "blinkLeft", "blinkRight"),
    ("eyeLookOutLeft", "lookLeft", "lookRight"),
    ("eyeLookInRight", "lookLeft", "lookRight"),
    ("eyeLookInLeft", "lookRight", "lookLeft"),
    ("eyeLookOutRight", "lookRight", "lookLeft"),
    ("eyeLookUpLeft", "lookUp", "lookDown"),
    ("eyeLookDownRight", "lookDown", "lookUp"),
    ("jawOpen", "aa", "oh"),
    ("mouthFunnel", "oh", "ou"),
    ("mouthPucker", "ou", "oh"),
    ("mouthStretchLeft", "ih", "aa"),
    ("mouthUpperUpRight", "ee", "ou"),
    ("mouthSmileLeft", "relaxed", "happy"),
    ("mouthFrownRight", "sad", "angry"),
    ("browDownLeft", "angry", "sad"),
    ("browInnerUp", "sad", "surprised"),
    ("browOuterUpLeft", "surprised", "sad"),
    ("eyeWideRight", "surprised", "blinkRight"),
];

#[rustfmt::skip]
const VRM0_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "Blink_L", "Blink_R"),
    ("eyeBlinkRight", "Blink_R", "Blink_L"),
    ("eyeBlinkLeft", "Blink_L", "Blink"),
    ("eyeSquintLeft", "Blink_L", "Blink_R"),
    ("eyeLookOutLeft", "LookLeft", "LookRight"),
    ("eyeLookInRight", "LookLeft", "LookRight"),
    ("eyeLookInLeft", "LookRight", "LookLeft"),
    ("eyeLookOutRight", "LookRight", "LookLeft"),
    ("eyeLookUpLeft", "LookUp", "LookDown"),
    ("eyeLookDownRight", "LookDown", "LookUp"),
    ("jawOpen", "A", "O"),
    ("mouthFunnel", "O", "U"),
    ("mouthPucker", "U", "O"),
    ("mouthStretchLeft", "I", "A"),
    ("mouthUpperUpRight", "E", "U"),
    ("mouthSmileLeft", "Fun", "Joy"),
    ("mouthFrownRight", "Sorrow", "Angry"),
    ("browDownLeft", "Angry", "Sorrow"),
    ("browInnerUp", "Sorrow", "Surprised"),
    ("browOuterUpLeft", "Surprised", "Sorrow"),
    ("eyeWideRight", "Surprised", "Blink_R"),
];

#[rustfmt::skip]
const READY_PLAYER_ME_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "eyeBlinkLeft", "eyeBlinkRight"),
    ("eyeBlinkRight", "eyeBlinkRight", "eyeBlinkLeft"),
    ("eyeLookInLeft", "eyeLookInLeft", "eyeLookInRight"),
    ("eyeLookOutLeft", "eyeLookOutLeft", "eyeLookOutRight"),
    ("eyeLookInRight", "eyeLookInRight", "eyeLookInLeft"),
    ("eyeLookOutRight", "eyeLookOutRight", "eyeLookOutLeft"),
    ("eyeLookUpLeft", "eyeLookUpLeft", "eyeLookUpRight"),
    ("eyeLookDownRight", "eyeLookDownRight", "eyeLookDownLeft"),
    ("eyeWideLeft", "eyeWideLeft", "eyeWideRight"),
    ("eyeSquintRight", "eyeSquintRight", "eyeSquintLeft"),
    ("jawLeft", "jawLeft", "jawRight"),
    ("jawRight", "jawRight", "jawLeft"),
    ("mouthLeft", "mouthLeft", "mouthRight"),
    ("mouthRight", "mouthRight", "mouthLeft"),
    ("mouthSmileLeft", "mouthSmileLeft", "mouthSmileRight"),
    ("mouthSmileRight", "mouthSmileRight", "mouthSmileLeft"),
    ("mouthFrownLeft", "mouthFrownLeft", "mouthFrownRight"),
    ("mouthPressRight", "mouthPressRight", "mouthPressLeft"),
    ("mouthUpperUpLeft", "mouthUpperUpLeft", "mouthUpperUpRight"),
    ("mouthLowerDownRight", "mouthLowerDownRight", "mouthLowerDownLeft"),
    ("browDownLeft", "browDownLeft", "browDownRight"),
    ("browOuterUpRight", "browOuterUpRight", "browOuterUpLeft"),
    ("cheekSquintLeft", "cheekSquintLeft", "cheekSquintRight"),
    ("noseSneerRight", "noseSneerRight", "noseSneerLeft"),
    ("jawOpen", "jawOpen", "mouthOpen"),
    ("jawOpen", "jawOpen", "viseme_aa"),
    ("mouthSmileLeft", "mouthSmileLeft", "mouthSmile"),
    ("eyeBlinkLeft", "eyeBlinkLeft", "eyesClosed"),
    ("eyeLookUpLeft", "eyeLookUpLeft", "eyesLookUp"),
];

#[rustfmt::skip]
const OCULUS_VISEMES_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "eyeBlinkLeft", "eyeBlinkRight"),
    ("eyeBlinkRight", "eyeBlinkRight", "eyeBlinkLeft"),
    ("jawOpen", "viseme_aa", "viseme_O"),
    ("mouthFunnel", "viseme_O", "viseme_U"),
    ("mouthPucker", "viseme_U", "viseme_O"),
    ("mouthStretchLeft", "viseme_E", "viseme_aa"),
    ("mouthDimpleRight", "viseme_I", "viseme_E"),
    ("mouthSmileLeft", "viseme_I", "viseme_aa"),
    ("mouthUpperUpLeft", "viseme_SS", "viseme_aa"),
    ("mouthLowerDownRight", "viseme_SS", "viseme_E"),
    ("mouthPressLeft", "viseme_PP", "viseme_FF"),
    ("mouthRollLower", "viseme_FF", "viseme_PP"),
    ("mouthRollUpper", "viseme_PP", "viseme_FF"),
    ("mouthShrugUpper", "viseme_CH", "viseme_SS"),
    ("tongueOut", "viseme_TH", "viseme_DD"),
    ("jawOpen", "viseme_aa", "viseme_nn"),
];

#[rustfmt::skip]
const VROID_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "Fcl_EYE_Close_L", "Fcl_EYE_Close_R"),
    ("eyeBlinkRight", "Fcl_EYE_Close_R", "Fcl_EYE_Close_L"),
    ("eyeBlinkLeft", "Fcl_EYE_Close_L", "Fcl_EYE_Close"),
    ("eyeWideLeft", "Fcl_EYE_Spread", "Fcl_EYE_Surprised"),
    ("eyeSquintRight", "Fcl_EYE_Fun", "Fcl_EYE_Joy_R"),
    ("cheekSquintLeft", "Fcl_EYE_Fun", "Fcl_EYE_Close_L"),
    ("browDownLeft", "Fcl_BRW_Angry", "Fcl_BRW_Sorrow"),
    ("browInnerUp", "Fcl_BRW_Sorrow", "Fcl_BRW_Surprised"),
    ("browOuterUpRight", "Fcl_BRW_Surprised", "Fcl_BRW_Sorrow"),
    ("jawOpen", "Fcl_MTH_A", "Fcl_ALL_Surprised"),
    ("mouthFunnel", "Fcl_MTH_O", "Fcl_MTH_U"),
    ("mouthPucker", "Fcl_MTH_U", "Fcl_MTH_O"),
    ("mouthSmileLeft", "Fcl_MTH_Fun", "Fcl_ALL_Fun"),
    ("mouthSmileRight", "Fcl_MTH_Fun", "Fcl_MTH_Angry"),
    ("mouthFrownLeft", "Fcl_MTH_Angry", "Fcl_MTH_Fun"),
    ("mouthStretchRight", "Fcl_MTH_Large", "Fcl_MTH_Small"),
    ("mouthUpperUpLeft", "Fcl_MTH_I", "Fcl_MTH_A"),
    ("mouthShrugLower", "Fcl_MTH_Up", "Fcl_MTH_Down"),
    ("mouthPressLeft", "Fcl_MTH_Close", "Fcl_MTH_SkinFung_L"),
    ("mouthRollUpper", "Fcl_MTH_Neutral", "Fcl_MTH_A"),
];

#[rustfmt::skip]
const CC_STANDARD_CHECKS: &[Check] = &[
    ("eyeLookInLeft", "Eye_L_Look_R", "Eye_L_Look_L"),
    ("eyeLookInLeft", "Eye_L_Look_R", "Eye_R_Look_L"),
    ("eyeLookOutLeft", "Eye_L_Look_L", "Eye_L_Look_R"),
    ("eyeLookInRight", "Eye_R_Look_L", "Eye_R_Look_R"),
    ("eyeLookOutRight", "Eye_R_Look_R", "Eye_R_Look_L"),
    ("eyeLookUpLeft", "Eye_L_Look_Up", "Eye_R_Look_Up"),
    ("eyeLookDownRight", "Eye_R_Look_Down", "Eye_L_Look_Down"),
    ("eyeBlinkLeft", "Eye_Blink_L", "Eye_Blink_R"),
    ("eyeBlinkRight", "Eye_Blink_R", "Eye_Blink_L"),
    ("eyeWideLeft", "Eye_Wide_L", "Eye_Wide_R"),
    ("eyeSquintRight", "Eye_Squint_R", "Eye_Squint_L"),
    ("jawLeft", "Jaw_L", "Jaw_R"),
    ("jawRight", "Jaw_R", "Jaw_L"),
    ("mouthLeft", "Mouth_L", "Mouth_R"),
    ("mouthRight", "Mouth_R", "Mouth_L"),
    ("mouthSmileLeft", "Mouth_Smile_L", "Mouth_Smile_R"),
    ("mouthSmileRight", "Mouth_Smile_R", "Mouth_Smile_L"),
    ("mouthFrownLeft", "Mouth_Frown_L", "Mouth_Frown_R"),
    ("mouthPressRight", "Mouth_Press_R", "Mouth_Press_L"),
    ("mouthUpperUpLeft", "Mouth_Up_Upper_L", "Mouth_Up_Upper_R"),
    ("mouthLowerDownRight", "Mouth_Down_Lower_R", "Mouth_Down_Lower_L"),
    ("browDownLeft", "Brow_Drop_L", "Brow_Drop_R"),
    ("browOuterUpRight", "Brow_Raise_Outer_R", "Brow_Raise_Outer_L"),
    ("cheekSquintLeft", "Cheek_Raise_L", "Cheek_Raise_R"),
    ("noseSneerRight", "Nose_Sneer_R", "Nose_Sneer_L"),
    ("browDownLeft", "Brow_Compress_L", "Brow_Raise_Inner_L"),
    ("browInnerUp", "Brow_Raise_Inner_R", "Brow_Drop_R"),
    ("mouthRollUpper", "Mouth_Roll_In_Upper_L", "Mouth_Roll_Out_Upper_L"),
    ("mouthRollLower", "Mouth_Roll_In_Lower_R", "Mouth_Roll_In_Upper_R"),
    ("mouthFunnel", "Mouth_Funnel_Down_L", "Mouth_Pucker_Down_L"),
    ("jawOpen", "Jaw_Open", "V_Open"),
    ("tongueOut", "Tongue_Out", "V_Tongue_Out"),
    ("mouthLeft", "Mouth_L", "Mouth_Upper_L"),
];

#[rustfmt::skip]
const CC_ARKIT_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "A14_Eye_Blink_Left", "A15_Eye_Blink_Right"),
    ("eyeBlinkRight", "A15_Eye_Blink_Right", "A14_Eye_Blink_Left"),
    ("eyeLookInLeft", "A11_Eye_Look_In_Left", "A12_Eye_Look_In_Right"),
    ("eyeLookOutLeft", "A10_Eye_Look_Out_Left", "A13_Eye_Look_Out_Right"),
    ("eyeLookInRight", "A12_Eye_Look_In_Right", "A11_Eye_Look_In_Left"),
    ("eyeLookOutRight", "A13_Eye_Look_Out_Right", "A10_Eye_Look_Out_Left"),
    ("eyeLookUpLeft", "A06_Eye_Look_Up_Left", "A07_Eye_Look_Up_Right"),
    ("eyeLookDownRight", "A09_Eye_Look_Down_Right", "A08_Eye_Look_Down_Left"),
    ("eyeWideLeft", "A18_Eye_Wide_Left", "A19_Eye_Wide_Right"),
    ("eyeSquintRight", "A17_Eye_Squint_Right", "A16_Eye_Squint_Left"),
    ("jawLeft", "A27_Jaw_Left", "A28_Jaw_Right"),
    ("jawRight", "A28_Jaw_Right", "A27_Jaw_Left"),
    ("mouthLeft", "A31_Mouth_Left", "A32_Mouth_Right"),
    ("mouthRight", "A32_Mouth_Right", "A31_Mouth_Left"),
    ("mouthSmileLeft", "A38_Mouth_Smile_Left", "A39_Mouth_Smile_Right"),
    ("mouthSmileRight", "A39_Mouth_Smile_Right", "A38_Mouth_Smile_Left"),
    ("mouthFrownLeft", "A40_Mouth_Frown_Left", "A41_Mouth_Frown_Right"),
    ("mouthPressRight", "A49_Mouth_Press_Right", "A48_Mouth_Press_Left"),
    ("mouthUpperUpLeft", "A44_Mouth_Upper_Up_Left", "A45_Mouth_Upper_Up_Right"),
    ("mouthLowerDownRight", "A47_Mouth_Lower_Down_Right", "A46_Mouth_Lower_Down_Left"),
    ("browDownLeft", "A02_Brow_Down_Left", "A03_Brow_Down_Right"),
    ("browOuterUpRight", "A05_Brow_Outer_Up_Right", "A04_Brow_Outer_Up_Left"),
    ("cheekSquintLeft", "A21_Cheek_Squint_Left", "A22_Cheek_Squint_Right"),
    ("noseSneerRight", "A24_Nose_Sneer_Right", "A23_Nose_Sneer_Left"),
    ("eyeLookInRight", "A12_Eye_Look_In_Right", "A11_Eye_Look_In_Left"),
    ("eyeBlinkLeft", "A14_Eye_Blink_Left", "Eye_Blink_L"),
    ("jawOpen", "A25_Jaw_Open", "V_Open"),
    ("mouthLeft", "A31_Mouth_Left", "Mouth_L"),
    ("tongueOut", "A52_Tongue_Out", "V_Tongue_Out"),
];

#[rustfmt::skip]
const ROCKETBOX_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "AK_09_EyeBlinkLeft", "AK_10_EyeBlinkRight"),
    ("eyeBlinkRight", "AK_10_EyeBlinkRight", "AK_09_EyeBlinkLeft"),
    ("eyeLookInLeft", "AK_13_EyeLookInLeft", "AK_14_EyeLookInRight"),
    ("eyeLookOutLeft", "AK_15_EyeLookOutLeft", "AK_16_EyeLookOutRight"),
    ("eyeLookInRight", "AK_14_EyeLookInRight", "AK_13_EyeLookInLeft"),
    ("eyeLookOutRight", "AK_16_EyeLookOutRight", "AK_15_EyeLookOutLeft"),
    ("eyeLookUpLeft", "AK_17_EyeLookUpLeft", "AK_18_EyeLookUpRight"),
    ("eyeLookDownRight", "AK_12_EyeLookDownRight", "AK_11_EyeLookDownLeft"),
    ("eyeWideLeft", "AK_21_EyeWideLeft", "AK_22_EyeWideRight"),
    ("eyeSquintRight", "AK_20_EyeSquintRight", "AK_19_EyeSquintLeft"),
    ("jawLeft", "AK_24_JawLeft", "AK_26_JawRight"),
    ("jawRight", "AK_26_JawRight", "AK_24_JawLeft"),
    ("mouthLeft", "AK_33_MouthLeft", "AK_39_MouthRight"),
    ("mouthRight", "AK_39_MouthRight", "AK_33_MouthLeft"),
    ("mouthSmileLeft", "AK_44_MouthSmileLeft", "AK_45_MouthSmileRight"),
    ("mouthSmileRight", "AK_45_MouthSmileRight", "AK_44_MouthSmileLeft"),
    ("mouthFrownLeft", "AK_30_MouthFrownLeft", "AK_31_MouthFrownRight"),
    ("mouthPressRight", "AK_37_MouthPressRight", "AK_36_MouthPressLeft"),
    ("mouthUpperUpLeft", "AK_48_MouthUpperUpLeft", "AK_49_MouthUpperUpRight"),
    ("mouthLowerDownRight", "AK_35_MouthLowerDownRight", "AK_34_MouthLowerDownLeft"),
    ("browDownLeft", "AK_01_BrowDownLeft", "AK_02_BrowDownRight"),
    ("browOuterUpRight", "AK_05_BrowOuterUpRight", "AK_04_BrowOuterUpLeft"),
    ("cheekSquintLeft", "AK_07_CheekSquintLeft", "AK_08_CheekSquintRight"),
    ("noseSneerRight", "AK_51_NoseSneerRight", "AK_50_NoseSneerLeft"),
    ("jawOpen", "AK_25_JawOpen", "SR_21_Jaw_Open"),
    ("jawOpen", "AK_25_JawOpen", "AU_26_JawDrop"),
    ("jawOpen", "AK_25_JawOpen", "AA_VI_10_aa"),
    ("mouthSmileLeft", "AK_44_MouthSmileLeft", "SR_34_Mouth_Smile_Left"),
    ("tongueOut", "AK_52_TongueOut", "HB_08_TongueOut"),
    ("jawLeft", "AK_24_JawLeft", "SR_20_Jaw_Left"),
];

#[rustfmt::skip]
const METAHUMAN_CHECKS: &[Check] = &[
    ("eyeLookInLeft", "CTRL_expressions_eyeLookRightL", "CTRL_expressions_eyeLookLeftL"),
    ("eyeLookInLeft", "CTRL_expressions_eyeLookRightL", "CTRL_expressions_eyeLookRightR"),
    ("eyeLookOutLeft", "CTRL_expressions_eyeLookLeftL", "CTRL_expressions_eyeLookRightL"),
    ("eyeLookInRight", "CTRL_expressions_eyeLookLeftR", "CTRL_expressions_eyeLookRightR"),
    ("eyeLookOutRight", "CTRL_expressions_eyeLookRightR", "CTRL_expressions_eyeLookLeftR"),
    ("eyeLookUpLeft", "CTRL_expressions_eyeLookUpL", "CTRL_expressions_eyeLookUpR"),
    ("eyeLookDownRight", "CTRL_expressions_eyeLookDownR", "CTRL_expressions_eyeLookDownL"),
    ("eyeBlinkLeft", "CTRL_expressions_eyeBlinkL", "CTRL_expressions_eyeBlinkR"),
    ("eyeBlinkRight", "CTRL_expressions_eyeBlinkR", "CTRL_expressions_eyeBlinkL"),
    ("eyeWideLeft", "CTRL_expressions_eyeWidenL", "CTRL_expressions_eyeWidenR"),
    ("eyeSquintRight", "CTRL_expressions_eyeSquintInnerR", "CTRL_expressions_eyeSquintInnerL"),
    ("jawLeft", "CTRL_expressions_jawLeft", "CTRL_expressions_jawRight"),
    ("jawRight", "CTRL_expressions_jawRight", "CTRL_expressions_jawLeft"),
    ("mouthLeft", "CTRL_expressions_mouthLeft", "CTRL_expressions_mouthRight"),
    ("mouthRight", "CTRL_expressions_mouthRight", "CTRL_expressions_mouthLeft"),
    ("mouthSmileLeft", "CTRL_expressions_mouthCornerPullL", "CTRL_expressions_mouthCornerPullR"),
    ("mouthSmileRight", "CTRL_expressions_mouthCornerPullR", "CTRL_expressions_mouthCornerPullL"),
    ("mouthFrownLeft", "CTRL_expressions_mouthCornerDepressL", "CTRL_expressions_mouthCornerDepressR"),
    ("mouthPressRight", "CTRL_expressions_mouthPressUR", "CTRL_expressions_mouthPressUL"),
    ("mouthUpperUpLeft", "CTRL_expressions_mouthUpperLipRaiseL", "CTRL_expressions_mouthUpperLipRaiseR"),
    ("mouthLowerDownRight", "CTRL_expressions_mouthLowerLipDepressR", "CTRL_expressions_mouthLowerLipDepressL"),
    ("browDownLeft", "CTRL_expressions_browDownL", "CTRL_expressions_browDownR"),
    ("browOuterUpRight", "CTRL_expressions_browRaiseOuterR", "CTRL_expressions_browRaiseOuterL"),
    ("cheekSquintLeft", "CTRL_expressions_eyeCheekRaiseL", "CTRL_expressions_eyeCheekRaiseR"),
    ("noseSneerRight", "CTRL_expressions_noseWrinkleR", "CTRL_expressions_noseWrinkleL"),
    ("mouthPressLeft", "CTRL_expressions_mouthPressDL", "CTRL_expressions_mouthPressDR"),
    ("mouthRollUpper", "CTRL_expressions_mouthUpperLipRollInL", "CTRL_expressions_mouthLowerLipRollInL"),
    ("mouthShrugUpper", "CTRL_expressions_jawChinRaiseUR", "CTRL_expressions_jawChinRaiseDR"),
    ("mouthShrugLower", "CTRL_expressions_jawChinRaiseDL", "CTRL_expressions_jawChinRaiseUL"),
    ("browInnerUp", "CTRL_expressions_browRaiseInL", "CTRL_expressions_browRaiseOuterL"),
    ("cheekPuff", "CTRL_expressions_mouthCheekBlowL", "CTRL_expressions_mouthCheekSuckL"),
    ("mouthPucker", "CTRL_expressions_mouthLipsPurseUL", "CTRL_expressions_mouthCornerPullL"),
];

#[rustfmt::skip]
const UNIFIED_EXPRESSIONS_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "EyeClosedLeft", "EyeClosedRight"),
    ("eyeBlinkRight", "EyeClosedRight", "EyeClosedLeft"),
    ("eyeLookInLeft", "EyeLookInLeft", "EyeLookInRight"),
    ("eyeLookOutLeft", "EyeLookOutLeft", "EyeLookOutRight"),
    ("eyeLookInRight", "EyeLookInRight", "EyeLookInLeft"),
    ("eyeLookOutRight", "EyeLookOutRight", "EyeLookOutLeft"),
    ("eyeLookUpLeft", "EyeLookUpLeft", "EyeLookUpRight"),
    ("eyeLookDownRight", "EyeLookDownRight", "EyeLookDownLeft"),
    ("eyeWideLeft", "EyeWideLeft", "EyeWideRight"),
    ("eyeSquintRight", "EyeSquintRight", "EyeSquintLeft"),
    ("jawLeft", "JawLeft", "JawRight"),
    ("jawRight", "JawRight", "JawLeft"),
    ("mouthLeft", "MouthUpperLeft", "MouthUpperRight"),
    ("mouthRight", "MouthUpperRight", "MouthUpperLeft"),
    ("mouthSmileLeft", "MouthCornerPullLeft", "MouthCornerPullRight"),
    ("mouthSmileRight", "MouthCornerPullRight", "MouthCornerPullLeft"),
    ("mouthFrownLeft", "MouthFrownLeft", "MouthFrownRight"),
    ("mouthPressRight", "MouthPressRight", "MouthPressLeft"),
    ("mouthUpperUpLeft", "MouthUpperUpLeft", "MouthUpperUpRight"),
    ("mouthLowerDownRight", "MouthLowerDownRight", "MouthLowerDownLeft"),
    ("browDownLeft", "BrowLowererLeft", "BrowLowererRight"),
    ("browOuterUpRight", "BrowOuterUpRight", "BrowOuterUpLeft"),
    ("cheekSquintLeft", "CheekSquintLeft", "CheekSquintRight"),
    ("noseSneerRight", "NoseSneerRight", "NoseSneerLeft"),
    ("mouthSmileLeft", "MouthCornerSlantLeft", "MouthCornerSlantRight"),
    ("browDownRight", "BrowPinchRight", "BrowPinchLeft"),
    ("mouthLeft", "MouthLowerLeft", "MouthLowerRight"),
    ("browInnerUp", "BrowInnerUpLeft", "BrowOuterUpLeft"),
    ("cheekPuff", "CheekPuffRight", "CheekSuckRight"),
    ("mouthFunnel", "LipFunnelLowerLeft", "LipPuckerLowerLeft"),
    ("mouthRollUpper", "LipSuckUpperRight", "LipSuckLowerRight"),
    ("mouthClose", "MouthClosed", "JawOpen"),
];

#[rustfmt::skip]
const FACESCAPE_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "EyeBlink_L", "EyeBlink_R"),
    ("eyeBlinkRight", "EyeBlink_R", "EyeBlink_L"),
    ("eyeLookInLeft", "EyeIn_L", "EyeIn_R"),
    ("eyeLookOutLeft", "EyeOut_L", "EyeOut_R"),
    ("eyeLookInRight", "EyeIn_R", "EyeIn_L"),
    ("eyeLookOutRight", "EyeOut_R", "EyeOut_L"),
    ("eyeLookUpLeft", "EyeUp_L", "EyeUp_R"),
    ("eyeLookDownRight", "EyeDown_R", "EyeDown_L"),
    ("eyeWideLeft", "EyeOpen_L", "EyeOpen_R"),
    ("eyeSquintRight", "EyeSquint_R", "EyeSquint_L"),
    ("jawLeft", "JawLeft", "JawRight"),
    ("jawRight", "JawRight", "JawLeft"),
    ("mouthLeft", "MouthLeft", "MouthRight"),
    ("mouthRight", "MouthRight", "MouthLeft"),
    ("mouthSmileLeft", "MouthSmile_L", "MouthSmile_R"),
    ("mouthSmileRight", "MouthSmile_R", "MouthSmile_L"),
    ("mouthFrownLeft", "MouthFrown_L", "MouthFrown_R"),
    ("mouthPressRight", "MouthPress_R", "MouthPress_L"),
    ("mouthUpperUpLeft", "LipsUpperUp_L", "LipsUpperUp_R"),
    ("mouthLowerDownRight", "LipsLowerDown_R", "LipsLowerDown_L"),
    ("browDownLeft", "BrowsD_L", "BrowsD_R"),
    ("browOuterUpRight", "BrowsU_R", "BrowsU_L"),
    ("cheekSquintLeft", "CheekSquint_L", "CheekSquint_R"),
    ("noseSneerRight", "Sneer_R", "Sneer_L"),
    ("mouthStretchLeft", "LipsStretch_L", "LipsStretch_R"),
    ("mouthRollUpper", "LipsUpperClose", "LipsLowerClose"),
    ("mouthRollLower", "LipsLowerClose", "LipsUpperClose"),
    ("mouthShrugUpper", "ChinUpperRaise", "ChinLowerRaise"),
    ("mouthShrugLower", "ChinLowerRaise", "ChinUpperRaise"),
    ("browInnerUp", "BrowsU_C", "BrowsU_L"),
    ("cheekPuff", "Puff", "CheekSquint_L"),
];

#[rustfmt::skip]
const FACS_CHECKS: &[Check] = &[
    ("eyeLookOutLeft", "AU61_L", "AU62_L"),
    ("eyeLookInRight", "AU61_R", "AU62_R"),
    ("eyeLookInLeft", "AU62_L", "AU61_L"),
    ("eyeLookOutRight", "AU62_R", "AU61_R"),
    ("eyeLookUpLeft", "AU63_L", "AU63_R"),
    ("eyeLookDownRight", "AU64_R", "AU64_L"),
    ("eyeBlinkLeft", "AU43_L", "AU43_R"),
    ("eyeBlinkRight", "AU43_R", "AU43_L"),
    ("eyeWideLeft", "AU5_L", "AU5_R"),
    ("eyeSquintRight", "AU7_R", "AU7_L"),
    ("jawLeft", "AU30_L", "AU30_R"),
    ("jawRight", "AU30_R", "AU30_L"),
    ("mouthSmileLeft", "AU12_L", "AU12_R"),
    ("mouthSmileRight", "AU12_R", "AU12_L"),
    ("mouthFrownLeft", "AU15_L", "AU15_R"),
    ("mouthPressRight", "AU24_R", "AU24_L"),
    ("mouthUpperUpLeft", "AU10_L", "AU10_R"),
    ("mouthLowerDownRight", "AU16_R", "AU16_L"),
    ("browDownLeft", "AU4_L", "AU4_R"),
    ("browOuterUpRight", "AU2_R", "AU2_L"),
    ("cheekSquintLeft", "AU6_L", "AU6_R"),
    ("noseSneerRight", "AU9_R", "AU9_L"),
    ("eyeBlinkLeft", "AU43_L", "AU45_L"),
    ("browInnerUp", "AU1_L", "AU2_L"),
    ("jawOpen", "AU26", "AU27"),
    ("mouthClose", "AU8", "AU26"),
    ("cheekPuff", "AU34", "AU13_L"),
];

#[rustfmt::skip]
const META_FACE_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "Eyes_Closed_L", "Eyes_Closed_R"),
    ("eyeBlinkRight", "Eyes_Closed_R", "Eyes_Closed_L"),
    ("eyeLookOutLeft", "Eyes_Look_Left_L", "Eyes_Look_Right_L"),
    ("eyeLookInLeft", "Eyes_Look_Right_L", "Eyes_Look_Right_R"),
    ("eyeLookInRight", "Eyes_Look_Left_R", "Eyes_Look_Right_R"),
    ("eyeLookOutRight", "Eyes_Look_Right_R", "Eyes_Look_Left_R"),
    ("eyeLookUpLeft", "Eyes_Look_Up_L", "Eyes_Look_Up_R"),
    ("eyeSquintRight", "Lid_Tightener_R", "Lid_Tightener_L"),
    ("eyeWideLeft", "Upper_Lid_Raiser_L", "Upper_Lid_Raiser_R"),
    ("jawLeft", "Jaw_Sideways_Left", "Jaw_Sideways_Right"),
    ("mouthRight", "Mouth_Right", "Mouth_Left"),
    ("mouthSmileLeft", "Lip_Corner_Puller_L", "Lip_Corner_Puller_R"),
    ("mouthFrownRight", "Lip_Corner_Depressor_R", "Lip_Corner_Depressor_L"),
    ("mouthUpperUpLeft", "Upper_Lip_Raiser_L", "Lower_Lip_Depressor_L"),
    ("mouthRollUpper", "Lip_Suck_LT", "Lip_Suck_LB"),
    ("browDownLeft", "Brow_Lowerer_L", "Brow_Lowerer_R"),
    ("browOuterUpRight", "Outer_Brow_Raiser_R", "Inner_Brow_Raiser_R"),
    ("cheekSquintLeft", "Cheek_Raiser_L", "Cheek_Raiser_R"),
    ("tongueOut", "Tongue_Out", "Tongue_Retreat"),
];

#[rustfmt::skip]
const SRANIPAL_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "Eye_Left_Blink", "Eye_Right_Blink"),
    ("eyeLookOutLeft", "Eye_Left_Left", "Eye_Left_Right"),
    ("eyeLookInLeft", "Eye_Left_Right", "Eye_Right_Right"),
    ("eyeLookInRight", "Eye_Right_Left", "Eye_Right_Right"),
    ("eyeLookOutRight", "Eye_Right_Right", "Eye_Left_Right"),
    ("eyeLookUpRight", "Eye_Right_Up", "Eye_Left_Up"),
    ("eyeSquintLeft", "Eye_Left_squeeze", "Eye_Right_squeeze"),
    ("jawLeft", "Jaw_Left", "Jaw_Right"),
    ("mouthLeft", "Mouth_Upper_Left", "Mouth_Upper_Right"),
    ("mouthRight", "Mouth_Lower_Right", "Mouth_Lower_Left"),
    ("mouthSmileRight", "Mouth_Smile_Right", "Mouth_Smile_Left"),
    ("mouthFrownLeft", "Mouth_Sad_Left", "Mouth_Sad_Right"),
    ("mouthUpperUpLeft", "Mouth_Upper_UpLeft", "Mouth_Upper_Left"),
    ("mouthLowerDownRight", "Mouth_Lower_DownRight", "Mouth_Lower_Right"),
    ("mouthClose", "Mouth_Ape_Shape", "Jaw_Open"),
    ("mouthRollUpper", "Mouth_Upper_Inside", "Mouth_Lower_Inside"),
    ("tongueOut", "Tongue_LongStep2", "Tongue_Up"),
];

#[rustfmt::skip]
const DAZ_FACS_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "facs_bs_EyeBlinkLeft", "facs_bs_EyeBlinkRight"),
    ("eyeLookInLeft", "facs_bs_EyeLookInLeft", "facs_bs_EyeLookInRight"),
    ("eyeLookOutRight", "facs_bs_EyeLookOutRight", "facs_bs_EyeLookInRight"),
    ("eyeWideLeft", "facs_bs_EyelidOpenUpperLeft", "facs_bs_EyelidOpenUpperRight"),
    ("jawLeft", "facs_bs_JawLeft", "facs_bs_JawRight"),
    ("mouthLeft", "facs_bs_MouthLeft", "facs_bs_MouthRight"),
    ("mouthSmileRight", "facs_bs_MouthSmileRight", "facs_bs_MouthSmileLeft"),
    ("mouthSmileLeft", "facs_bs_MouthSmileLeft", "facs_bs_MouthSmileWidenLeft"),
    ("mouthPressLeft", "facs_bs_MouthPressUpperLeft", "facs_bs_MouthPressUpperRight"),
    ("mouthRollLower", "facs_bs_MouthRollLowerRight", "facs_bs_MouthRollUpperRight"),
    ("mouthPucker", "facs_bs_MouthPurseUpperLeft", "facs_bs_MouthFunnelUpperLeft"),
    ("mouthFunnel", "facs_bs_MouthFunnelLowerRight", "facs_ctrl_MouthFunnel"),
    ("browInnerUp", "facs_bs_BrowInnerUpLeft", "facs_bs_BrowOuterUpLeft"),
    ("browDownRight", "facs_bs_BrowDownRight", "facs_bs_BrowDownLeft"),
    ("noseSneerLeft", "facs_bs_NoseSneerLeft", "facs_bs_NoseSneerRight"),
    ("mouthClose", "facs_bs_MouthCloseUpperLeft", "facs_bs_JawOpen"),
];

#[rustfmt::skip]
const DAZ_GENESIS8_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "eCTRLEyesClosedL", "eCTRLEyesClosedR"),
    ("eyeBlinkRight", "eCTRLEyesClosedR", "eCTRLEyesClosed"),
    ("eyeSquintLeft", "eCTRLEyesSquintL", "eCTRLEyesSquintR"),
    ("cheekSquintRight", "eCTRLCheekEyeFlexR", "eCTRLCheekEyeFlexL"),
    ("browOuterUpLeft", "eCTRLBrowOuterUp-DownL", "eCTRLBrowOuterUp-DownR"),
    ("browInnerUp", "eCTRLBrowInnerUp-DownL", "eCTRLBrowInnerUp-Down"),
    ("browDownLeft", "eCTRLBrowSqueeze", "eCTRLBrowUp-DownR"),
    ("jawOpen", "eCTRLMouthOpen", "eCTRLMouthOpenWide"),
    ("mouthSmileLeft", "eCTRLMouthSmileSimpleL", "eCTRLMouthSmileSimpleR"),
    ("mouthSmileRight", "eCTRLMouthSmileSimpleR", "eCTRLMouthSmileSimple"),
    ("mouthStretchLeft", "eCTRLMouthCornerBackL", "eCTRLMouthCornerBackR"),
    ("mouthUpperUpRight", "eCTRLLipTopUp-DownR", "eCTRLLipTopUp-DownL"),
    ("mouthPucker", "eCTRLLipsPucker", "eCTRLLipsPuckerWide"),
    ("mouthFunnel", "eCTRLvOW", "eCTRLvUW"),
    ("cheekPuff", "eCTRLCheeksBalloon", "eCTRLCheeksBalloonPucker"),
];

#[rustfmt::skip]
const FUSE_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "Blink_Left", "Blink_Right"),
    ("eyeWideRight", "EyesWide_Right", "EyesWide_Left"),
    ("eyeSquintLeft", "Squint_Left", "Squint_Right"),
    ("browDownLeft", "BrowsDown_Left", "BrowsDown_Right"),
    ("browOuterUpRight", "BrowsUp_Right", "BrowsUp_Left"),
    ("browInnerUp", "BrowsOuterLower_Left", "BrowsDown_Left"),
    ("jawLeft", "Jaw_Left", "Jaw_Right"),
    ("jawOpen", "MouthOpen", "Jaw_Down"),
    ("mouthLeft", "Midmouth_Left", "Midmouth_Right"),
    ("mouthSmileLeft", "Smile_Left", "Smile_Right"),
    ("mouthFrownRight", "Frown_Right", "Frown_Left"),
    ("mouthUpperUpLeft", "UpperLipUp_Left", "UpperLipUp_Right"),
    ("mouthLowerDownRight", "LowerLipDown_Right", "LowerLipDown_Left"),
    ("noseSneerRight", "NoseScrunch_Right", "NoseScrunch_Left"),
    ("cheekPuff", "CheekPuff_Right", "Smile_Right"),
    ("mouthRollUpper", "UpperLipIn", "LowerLipIn"),
];

#[rustfmt::skip]
const CHARACTER_GENERATOR_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "h_expressions.LeyeClose_h", "h_expressions.ReyeClose_h"),
    ("eyeBlinkRight", "h_expressions.ReyeClose_h", "h_expressions.LeyeClose_h"),
    ("eyeWideLeft", "h_expressions.LeyeOpen_h", "h_expressions.LeyeClose_h"),
    ("eyeSquintRight", "h_expressions.Rsquint_h", "h_expressions.Lsquint_h"),
    ("browDownLeft", "h_expressions.LbrowDown_h", "h_expressions.RbrowDown_h"),
    ("browOuterUpRight", "h_expressions.RRbrowUp_h", "h_expressions.LLbrowUp_h"),
    ("browInnerUp", "h_expressions.LbrowUp_h", "h_expressions.LLbrowUp_h"),
    ("jawOpen", "h_expressions.MouthOpen_h", "h_expressions.Chew_h"),
    ("jawLeft", "h_expressions.Ljaw_h", "h_expressions.Rjaw_h"),
    ("mouthSmileLeft", "h_expressions.LsmileClose_h", "h_expressions.LsmileOpen_h"),
    ("mouthFrownRight", "h_expressions.RmouthSad_h", "h_expressions.LmouthSad_h"),
    ("mouthUpperUpLeft", "h_expressions.LlipUp_h", "h_expressions.LlipDown_h"),
    ("mouthLowerDownRight", "h_expressions.RlipDown_h", "h_expressions.LlipDown_h"),
    ("mouthRollLower", "h_expressions.MPB_Down_h", "h_expressions.MPB_Up_h"),
    ("noseSneerLeft", "h_expressions.Ldisgust_h", "h_expressions.Rdisgust_h"),
    ("mouthPucker", "h_expressions.Kiss_h", "h_expressions.UH_OO_h"),
];

#[rustfmt::skip]
const MMD_CHECKS: &[Check] = &[
    ("eyeBlinkLeft", "ウィンク２", "ｳｨﾝｸ２右"),
    ("eyeBlinkRight", "ｳｨﾝｸ２右", "ウィンク２"),
    ("eyeBlinkLeft", "ウィンク２", "まばたき"),
    ("eyeWideLeft", "びっくり", "じと目"),
    ("eyeSquintLeft", "じと目", "笑い"),
    ("browInnerUp", "困る", "怒り"),
    ("browDownLeft", "怒り", "真面目"),
    ("browOuterUpRight", "上", "下"),
    ("jawOpen", "あ", "い"),
    ("mouthFunnel", "お", "う"),
    ("mouthPucker", "う", "お"),
    ("mouthSmileLeft", "口角上げ", "口角下げ"),
    ("mouthFrownLeft", "口角下げ", "口角上げ"),
    ("mouthStretchLeft", "口横広げ", "口横狭め"),
    ("tongueOut", "ぺろっ", "にやり"),
    ("mouthUpperUpLeft", "い", "あ"),
];
