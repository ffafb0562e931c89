/**
 * Seals and opens. What a client needs is {@link SealedClient}.
 */
export class Seal {
    /** @param {string} text 43 characters of base64url @returns {Promise<Seal>} @throws {TypeError} When it is no key */
    static from(text: string): Promise<Seal>;
    /** @param {RoomKey} key */
    constructor(key: RoomKey);
    /** What was read and what was refused. */
    stats: {
        sealed: number;
        opened: number;
        otherKey: number;
        forged: number;
        replayed: number;
        malformed: number;
        notSealed: number;
    };
    /** Names the key without giving it away, the same on every member's screen. */
    get fingerprint(): string;
    /** Another key from now on. @param {string} text */
    setKey(text: string): Promise<void>;
    /** The next key of the ratchet from now on; the other members follow by themselves. */
    ratchet(): Promise<void>;
    /** What stands for a name towards a relay. @param {string} name */
    opaqueName(name: string): Promise<string>;
    /**
     * Seals a facelink1 packet of one face.
     * @param {Uint8Array<ArrayBuffer>} packet
     * @param {string} own Name of the face where the packet has none
     * @param {number} now Milliseconds
     * @returns {Promise<Uint8Array<ArrayBuffer>>}
     */
    sealFace(packet: Uint8Array<ArrayBuffer>, own: string, now: number): Promise<Uint8Array<ArrayBuffer>>;
    /** Seals a message, such as a viseme. @param {string} text */
    sealMessage(text: string): Promise<Uint8Array<ArrayBuffer>>;
    /**
     * Opens a message, which may be a bundle.
     * @param {Uint8Array<ArrayBuffer>} bytes
     * @param {(plain: Uint8Array<ArrayBuffer> | string, leftOut: number) => void} each Gets facelink1 packets, and messages;
     *   `leftOut`: frames of the stream that a relay has left out so far, which are not lost
     */
    open(bytes: Uint8Array<ArrayBuffer>, each: (plain: Uint8Array<ArrayBuffer> | string, leftOut: number) => void): Promise<void>;
    #private;
}
export function keyOf(url: string | URL): string | null;
/**
 * The client of facelink.js with a key: what it sends is sealed end to end, and what it receives is opened. Frames are
 * `facelink1` inside; `sendBlendshapes`, `sendBatch` and `sendBinaryBlendshapes`, which would leave in the clear, send
 * nothing.
 */
export class SealedClient extends FacialAnimationWebRTCClient {
    /**
     * @param {string} [wsUrl] The server, or an invitation with the key in it (`#k=`)
     * @param {import('./facelink.js').ClientOptions & { key?: string }} [options] `key`: 43 characters of base64url
     * @throws {TypeError} Without a key, and where the browser has no WebCrypto: on pages that are neither HTTPS nor of
     *   this machine
     */
    constructor(wsUrl?: string, { key, subject, ...options }?: import("./facelink.js").ClientOptions & {
        key?: string;
    });
    /** Seals and opens; with the fingerprint of the key, and what was refused. @returns {Promise<Seal>} */
    get seal(): Promise<Seal>;
    /** Another key from now on. @param {string} key @returns {Promise<void>} */
    setKey(key: string): Promise<void>;
    #private;
}
/**
 * The key that a room shares, and what is derived from it.
 */
export type RoomKey = {
    root: CryptoKey;
    fingerprint: string;
    hint: number;
    /**
     * SFrame's base key
     */
    base: CryptoKey;
    /**
     * The key one step ahead
     */
    next: Uint8Array<ArrayBuffer>;
    /**
     * By key id
     */
    streams: Map<string, {
        key: CryptoKey;
        salt: Uint8Array;
    }>;
};
import { FacialAnimationWebRTCClient } from './facelink.js';
