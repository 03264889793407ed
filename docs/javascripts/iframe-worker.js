// Search runs in a Worker. Browsers start no Worker from file://, so there a hidden frame does the work.
// The theme's search script looks for the name IFrameWorker and then expects importScripts to return a promise.
if (location.protocol === "file:") {
  const FRAME_SCRIPT = `
    self.importScripts = (...urls) => urls.reduce((done, url) => done.then(() => new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = url; script.onload = resolve; script.onerror = reject;
      document.body.append(script);
    })), Promise.resolve());
    self.postMessage = data => parent.dispatchEvent(new CustomEvent("frame-worker", {detail: data}));`;

  class IFrameWorker extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc = `<body><script>${FRAME_SCRIPT}<\/script><script src="${new URL(url, location)}"><\/script></body>`;
      this.ready = new Promise(resolve => { frame.onload = () => resolve(frame.contentWindow); });
      window.addEventListener("frame-worker", event => {
        this.dispatchEvent(new MessageEvent("message", {data: event.detail}));
      });
      document.body.append(frame);
    }

    postMessage(data) {
      this.ready.then(frame => frame.dispatchEvent(new frame.MessageEvent("message", {data})));
    }
  }

  window.IFrameWorker = window.Worker = IFrameWorker;
}
