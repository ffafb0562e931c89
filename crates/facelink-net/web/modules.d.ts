// What draws the viewer's avatars, without its types.
declare module 'three';
declare module 'three/addons/*';
declare module '@pixiv/three-vrm';

// What a module of an audio worklet has, which TypeScript's library of pages lacks.
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new (options: any) => AudioWorkletProcessor): void;
declare const sampleRate: number;
