import asyncio,time,sys
N=int(sys.argv[1]); C=int(sys.argv[2])
body=b'x'*1024
async def w(n,base):
    r,wr=await asyncio.open_connection('127.0.0.1',18080)
    ok=0
    for i in range(n):
        wr.write(b'POST / HTTP/1.1\r\nHost: x\r\nce-specversion: 1.0\r\nce-id: %d-%d-%d\r\nce-source: /l\r\nce-type: t\r\nContent-Length: 1024\r\n\r\n'%(base,i,N)+body)
        h=await r.readuntil(b'\r\n\r\n')
        l=int([x for x in h.split(b'\r\n') if x.lower().startswith(b'content-length')][0].split(b':')[1])
        await r.readexactly(l)
        ok+=h.startswith(b'HTTP/1.1 202')
    return ok
async def main():
    t=time.time()
    ok=sum(await asyncio.gather(*[w(N//C,b) for b in range(C)]))
    d=time.time()-t
    print(C,'callers',ok,'accepted',round(ok/d),'/s')
asyncio.run(main())
