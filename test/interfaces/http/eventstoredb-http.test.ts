import { httpContract } from '../../contracts/http.contract.ts';
import { standIns } from '../../support/eventstoredb/stand-ins.ts';
import { servedFolder } from '../../support/served.ts';

for (const [way, start] of Object.entries(standIns))
  httpContract(`EventStoreDB's protocol, ${way}`, async () => {
    const eventStore = await start();
    const served = await servedFolder({ EVENTSTORE_URL: eventStore.url });
    return {
      url: served.url,
      async close() {
        await served.close();
        await eventStore.stop();
      },
    };
  });
