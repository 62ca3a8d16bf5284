// The one window: sandboxed, isolated, bound to the user interface's origin on loopback. Links to
// anywhere else open in the person's browser. The page's Content-Security-Policy is the UI server's.
import { BrowserWindow, session, shell } from 'electron';
import type { Logger } from '#kube/base/logger.ts';

export interface AppWindowOptions {
  readonly preload: string;
  readonly icon: string;
  readonly logger: Logger;
}

export class AppWindow {
  readonly #options: AppWindowOptions;
  #window: BrowserWindow | undefined;
  #url: string | undefined;

  constructor(options: AppWindowOptions) {
    this.#options = options;
    session.defaultSession.setPermissionRequestHandler((_contents, permission, allow) =>
      allow(permission === 'clipboard-sanitized-write'),
    );
  }

  /** Opens the window, or brings it to the front. Empty until `serve` names the page. */
  show(): void {
    if (this.#window !== undefined) {
      if (this.#window.isMinimized()) this.#window.restore();
      this.#window.show();
      return;
    }
    this.#window = this.#create();
    if (this.#url !== undefined) void this.#load(this.#window, this.#url);
  }

  /**
   * The control plane serves at `url` (with a one-time token). A page that is open already keeps
   * its session and reconnects by itself when the control plane comes back on the same port.
   */
  serve(url: string): void {
    const isSameOrigin =
      this.#url !== undefined && new URL(this.#url).origin === new URL(url).origin;
    this.#url = url;
    if (this.#window !== undefined && !isSameOrigin) void this.#load(this.#window, url);
  }

  close(): void {
    this.#window?.destroy();
    this.#window = undefined;
  }

  #create(): BrowserWindow {
    const window = new BrowserWindow({
      width: 1280,
      height: 860,
      minWidth: 380,
      minHeight: 560,
      title: 'Flotilla',
      icon: this.#options.icon,
      backgroundColor: '#f6f5f1',
      autoHideMenuBar: true,
      webPreferences: {
        preload: this.#options.preload,
        sandbox: true,
        contextIsolation: true,
        nodeIntegration: false,
        webviewTag: false,
        spellcheck: false,
      },
    });
    window.on('closed', () => (this.#window = undefined));
    window.webContents.on('will-navigate', (event) => {
      if (!this.#isOwn(event.url)) event.preventDefault();
    });
    window.webContents.setWindowOpenHandler(({ url }) => {
      if (/^https?:/.test(url)) void shell.openExternal(url);
      return { action: 'deny' };
    });
    return window;
  }

  #isOwn(url: string): boolean {
    return this.#url !== undefined && new URL(url).origin === new URL(this.#url).origin;
  }

  async #load(window: BrowserWindow, url: string): Promise<void> {
    try {
      await window.loadURL(url);
    } catch (error) {
      // Navigated away or closed meanwhile: the next `serve` or `show` loads again.
      this.#options.logger.warn('Window could not load the user interface', {
        error: String(error),
      });
    }
  }
}
