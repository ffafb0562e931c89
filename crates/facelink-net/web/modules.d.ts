// What draws the viewer's avatars, without its types.
declare module 'three';
declare module 'three/addons/*';
declare module '@pixiv/three-vrm';
